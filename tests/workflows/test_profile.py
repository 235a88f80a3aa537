from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import featherlight
from featherlight.cost.latency import usable_cores
from featherlight.errors import ModelFileError, UsageError
from featherlight.workflows.profile import profile_latency, profile_units


def test_network_by_name_is_counted_at_224_px_and_1000_classes() -> None:
    cost = featherlight.profile("shufflenet_v2_x0_5")
    assert isinstance(cost, featherlight.Cost)
    assert (cost.model, cost.input) == ("shufflenet_v2_x0_5", (3, 224, 224))
    assert (cost.params, cost.macs) == (1_366_792, 40_476_448)


def test_stem_and_classifier_follow_the_arguments() -> None:
    cost = featherlight.profile("shufflenet_v2_x0_5", 32, num_classes=10)
    assert cost.layers[0].output == (24, 32, 32)  # the stem for small images keeps the size
    assert cost.layers[-1].output == (10,)
    assert cost.params == 1_366_792 - 990 * 1025


def test_channels_height_and_width_can_be_given() -> None:
    cost = featherlight.profile("mobilenet_v1_x0_25", (1, 128, 256))
    assert cost.input == (1, 128, 256)
    assert cost.layers[0].output == (8, 64, 128)


def test_trained_model_is_counted_at_its_own_size(tiny_run: Path) -> None:
    by_run = featherlight.profile(tiny_run)
    assert (by_run.model, by_run.input) == (str(tiny_run), (3, 16, 16))
    assert by_run.layers[-1].output == (3,)
    by_file = featherlight.profile(tiny_run / "model.safetensors")
    by_network = featherlight.profile(featherlight.load_model(tiny_run))
    assert by_run.layers == by_file.layers == by_network.layers
    assert by_network.model == "shufflenet_v2_x0_5"
    assert featherlight.profile(tiny_run, 32).input == (3, 32, 32)


def test_created_network_is_counted_at_the_size_it_was_made_for() -> None:
    network = featherlight.create_model("shufflenet_v2_x0_5", in_channels=1, input_size=48)
    assert featherlight.profile(network).input == (1, 48, 48)


def test_any_module_can_be_counted() -> None:
    network = nn.Sequential(nn.Conv2d(5, 2, 3), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(1, 5, 16, 16))
    cost = featherlight.profile(network, 16)
    assert (cost.model, cost.input) == ("Sequential", (5, 16, 16))
    assert cost.macs == 14 * 14 * 2 * 45 + 14 * 14 * 2 * 3


def test_timms_networks_are_counted_at_their_own_size() -> None:
    timm = pytest.importorskip("timm")
    by_name = featherlight.profile("timm/test_vit")
    assert by_name.input == (3, 160, 160)
    by_network = featherlight.profile(timm.create_model("test_vit"))
    assert by_network.layers == by_name.layers
    assert featherlight.profile("timm/test_vit", 96).input == (3, 96, 96)


def test_timms_networks_are_trained_evaluated_and_loaded(color_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    run = featherlight.train(
        color_folder, "timm/test_efficientnet", out=tmp_path / "run", epochs=1, batch_size=6, input_size=32
    )
    assert run.metrics["num_images"] == 12
    assert featherlight.load_model(run.path).featherlight_arguments["name"] == "timm/test_efficientnet"
    assert featherlight.profile(run.path).input == (3, 32, 32)
    assert featherlight.evaluate(run.path).top1 == run.metrics["top1"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("shufflenet_v2_x0_4", "did you mean shufflenet_v2_x0_5"),
        ("runs/none", "runs/none: no such run directory or model file"),
        ("none.safetensors", "none.safetensors: no such run directory or model file"),
    ],
)
def test_what_is_not_there_is_explained(model: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        featherlight.profile(model)


@pytest.mark.parametrize("size", [(3, 32), (3,), (3, 32, 0), (3, 32, 32.5), True, "32", 0])
def test_sizes_that_cannot_be_are_refused(size: object) -> None:
    for model in (nn.Conv2d(3, 3, 3), "shufflenet_v2_x0_5"):
        with pytest.raises(UsageError, match=r"input_size is .*; give a side in pixels, or channels"):
            featherlight.profile(model, size)  # type: ignore[arg-type]


def test_damaged_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="not a model file"):
        featherlight.profile(tmp_path / "model.safetensors")


def test_number_of_classes_belongs_to_untrained_networks(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="is trained and has its number of classes"):
        featherlight.profile(tiny_run, num_classes=10)


def test_latency_is_measured_beside_the_cost(tiny_run: Path) -> None:
    measured = profile_latency(tiny_run, batches=[2], threads=[1], budget_s=0.001)
    assert measured.cost == featherlight.profile(tiny_run)
    assert list(measured.networks) == [(2, 1)]
    assert measured.torch == torch.__version__


def test_more_threads_than_cores_are_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="threads cannot be measured here"):
        profile_latency("shufflenet_v2_x0_5", threads=[1, usable_cores() + 1])


def test_units_are_drawn_where_asked(tmp_path: Path) -> None:
    size, costs = profile_units(tmp_path / "units.png", channels=24, middle=60, height=56, width=56)
    assert (size.channels, size.groups) == (24, 3)
    assert len(costs) == 8
    assert (tmp_path / "units.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_for_sizes_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="5 groups do not divide"):
        profile_units(tmp_path / "units.png", channels=24, groups=5)
    assert not list(tmp_path.iterdir())
