"""What is planned with is what will be delivered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherlight import create_model, export, save_model
from featherlight.choosing import Limits
from featherlight.images import Preprocessing
from featherlight.passes import DEFAULT_FORM
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.workflows.choose_measure import measure_untrained
from featherlight.workflows.choose_order import Order

NETWORK = "shufflenet_v1_g3_x0_5"
CLASSES = ("blue", "green", "red")


@pytest.mark.slow
def test_the_size_before_training_is_that_of_the_trained_file(color_folder: Path, tmp_path: Path) -> None:
    recipe = default_recipe(DataFacts(str(color_folder), 36, 32, True), {"model": NETWORK})
    order = Order(str(color_folder), Limits(size_bytes=10**7), 60.0)
    planned = measure_untrained(order, recipe, CLASSES, timed=False).size_bytes
    network = create_model(NETWORK, len(CLASSES), input_size=32)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.bias.data.normal_()
    model = save_model(network.eval(), tmp_path / "model.safetensors", CLASSES, Preprocessing(32, crop_fraction=1.0))
    result = export(model, "onnx", data=color_folder, form=DEFAULT_FORM, out=tmp_path / "out")
    delivered = sum(file.stat().st_size for file in result.files)
    assert planned == pytest.approx(delivered, rel=0.01)  # what a file tells about itself differs a little
