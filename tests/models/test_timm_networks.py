"""timm's networks under ``timm/NAME``: built, saved, loaded, and refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from featherlight.errors import MissingExtraError, ModelFileError, UsageError
from featherlight.images import Preprocessing
from featherlight.model_file import read_card, read_tensors, write_model_file
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.registry import create_model
from featherlight.models.timm_networks import published_input_size
from featherlight.models.weights import load_model, save_model

timm = pytest.importorskip("timm")


def saved(network: nn.Module, path: Path, num_classes: int, size: int, channels: int = 3) -> Path:
    preprocessing = Preprocessing(size, "crop", 0.875, (0.5,) * channels, (0.5,) * channels)
    return save_model(network, path, [f"class {k}" for k in range(num_classes)], preprocessing)


def test_arguments_reach_timm() -> None:
    network = create_model("timm/resnet10t", num_classes=7, in_channels=1, input_size=96, dropout=0.3)
    assert type(network) is timm.models.ResNet
    assert (network.num_classes, network.drop_rate, network.conv1[0].in_channels) == (7, 0.3, 1)
    assert network.featherlight_arguments == {
        "name": "timm/resnet10t",
        "num_classes": 7,
        "in_channels": 1,
        "input_size": 96,
        "stem": "imagenet",
        "dropout": 0.3,
    }
    assert network(torch.zeros(2, 1, 96, 96)).shape == (2, 7)


def test_small_images_get_the_published_stem_too() -> None:
    assert create_model("timm/test_efficientnet", input_size=32).featherlight_arguments["stem"] == "imagenet"


def test_transformers_are_built_for_the_input_size() -> None:
    network = create_model("timm/test_vit", num_classes=3, input_size=96).eval()
    assert network(torch.zeros(1, 3, 96, 96)).shape == (1, 3)
    assert published_input_size("timm/test_vit") == 160


# Plain; attention biases that are computed and not stored; a tag.
@pytest.mark.parametrize("name", ["timm/test_efficientnet", "timm/levit_128s", "timm/test_vit.r160_in1k"])
def test_model_files_load_again(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, input_size=160 if "test" in name else 224, dropout=0.1).eval()
    path = saved(network, tmp_path / "model.safetensors", 3, 224)
    loaded = load_model(path)
    size = network.featherlight_arguments["input_size"]
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
    assert not loaded.training
    assert loaded.featherlight_arguments == network.featherlight_arguments
    assert not any(tensor.is_meta for tensor in [*loaded.parameters(), *loaded.buffers()])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "timm/resnet19"}, "timm has no network named 'resnet19'; did you mean timm/resnet18"),
        ({"name": "timm/resnet18.nobody"}, "timm has no network named 'resnet18.nobody': Invalid pretrained tag"),
        ({"name": "timm/hf-hub:timm/resnet18"}, "timm has no network named 'hf-hub:timm/resnet18'"),
        ({"name": "timm/local-dir:/tmp"}, "timm has no network named 'local-dir:/tmp'"),
        ({"name": "timm/"}, "timm has no network named ''"),
        ({"stem": "cifar"}, "timm/resnet18 has only its published stem"),
        ({"stem": "tiny"}, "stem 'tiny' does not exist"),
        ({"input_size": 5000}, "built for at most 4096"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"pretrained": True}, "no ImageNet weights are known for timm/resnet18"),
        (
            {"name": "timm/inception_v3", "input_size": 32},
            "timm/inception_v3 cannot be built for 3x32x32: .*Kernel size",
        ),
    ],
)
def test_wrong_arguments_are_explained(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "timm/resnet18", **wrong}
    with pytest.raises(UsageError, match=message):
        create_model(**arguments)


def test_missing_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r'needs timm, .* Run: pip install "featherlight\[timm\]"'):
        create_model("timm/resnet18")


def test_networks_of_timm_are_known_but_not_listed() -> None:
    assert not [name for name in list_models() if name.startswith("timm")]
    info = model_info("timm/resnet18")
    assert (info.family, info.title, info.dropout) == ("timm", "resnet18", None)


@pytest.mark.parametrize("change", [{"input_size": 10**9}, {"name": "timm/hf-hub:evil/model"}])
def test_hostile_files_neither_hang_nor_download(change: dict[str, Any], tmp_path: Path) -> None:
    network = create_model("timm/test_vit", num_classes=3, input_size=160)
    path = saved(network, tmp_path / "model.safetensors", 3, 160)
    card = read_card(path)
    arguments = {**card.arguments, **change}
    name = arguments.pop("name", card.model)
    hostile = type(card)(name, arguments, card.classes, card.preprocessing)
    write_model_file(path, read_tensors(path), hostile)
    with pytest.raises(ModelFileError, match="cannot build the network"):
        load_model(path)
