"""Featherlight's networks as timm sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherlight.errors import DownloadError, UsageError
from featherlight.models.catalogue import list_models
from featherlight.models.registry import create_model

timm = pytest.importorskip("timm")

import featherlight.timm  # noqa: E402


def test_every_network_is_registered() -> None:
    names = timm.list_models(module="timm")
    assert set(names) == {name.replace(".", "_") for name in list_models()}
    assert all(timm.is_model(name) for name in names)


def test_names_are_told_apart_from_timms_own() -> None:
    assert featherlight.timm.timm_name("shufflenet_v1_g3_x1_0.jaxony") == "shufflenet_v1_g3_x1_0_jaxony"
    assert type(timm.create_model("mobilenetv3_small_050")).__module__.startswith("timm.")


def test_timm_creates_the_network_that_we_do() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("shufflenet_v1_g3_x1_0").eval()
    torch.manual_seed(0)
    ours = create_model("shufflenet_v1_g3_x1_0").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(theirs(x), ours(x))
    assert theirs.num_classes == 1000


def test_timms_arguments_are_accepted() -> None:
    config = {"input_size": (1, 96, 96), "crop_pct": 0.9, "num_classes": 10, "mean": (0.5,), "std": (0.25,)}
    network = timm.create_model(
        "shufflenet_v2_x0_5", num_classes=10, in_chans=1, drop_rate=0.3, pretrained_cfg=config, img_size=96
    )
    assert network.featherlight_arguments == {
        "name": "shufflenet_v2_x0_5",
        "num_classes": 10,
        "in_channels": 1,
        "input_size": 96,
        "stem": "imagenet",
        "dropout": 0.3,
    }
    data = timm.data.resolve_model_data_config(network)
    assert (data["input_size"], data["crop_pct"], data["mean"]) == ((1, 96, 96), 0.9, (0.5,))


def test_small_images_get_the_small_stem() -> None:
    network = timm.create_model("shufflenet_v2_x0_5", img_size=32)
    assert network.featherlight_arguments["stem"] == "cifar"
    assert timm.create_model("shufflenet_v2_x0_5", stem="cifar").featherlight_arguments["stem"] == "cifar"


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v2_x1_0", "mobilenet_v3_small"])
def test_weights_named_by_the_config_are_fitted_to_channels_and_classes(name: str, tmp_path: Path) -> None:
    source = timm.create_model(name)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth")}
    network = timm.create_model(name, pretrained=True, num_classes=5, in_chans=1, pretrained_cfg_overlay=overlay)
    expected, found = source.state_dict(), network.state_dict()
    different = [key for key in found if found[key].shape != expected[key].shape]
    first, classifier = network.pretrained_cfg["first_conv"], network.pretrained_cfg["classifier"]
    assert set(different) == {f"{first}.weight", f"{classifier}.weight", f"{classifier}.bias"}
    assert all(torch.equal(found[key], expected[key]) for key in found if key not in different)
    torch.testing.assert_close(found[f"{first}.weight"], expected[f"{first}.weight"].sum(1, keepdim=True))


def test_weights_that_nobody_has_are_refused() -> None:
    with pytest.raises(UsageError, match="no ImageNet weights are known for shufflenet_v1_g2_x2_0"):
        timm.create_model("shufflenet_v1_g2_x2_0", pretrained=True)


def test_published_weights_are_asked_for() -> None:
    with pytest.raises(DownloadError, match=r"shufflenetv2_x0\.5-f707e7126e\.pth"):  # nothing is fetched in tests
        timm.create_model("shufflenet_v2_x0_5", pretrained=True)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'window_size'"):
        timm.create_model("shufflenet_v2_x0_5", window_size=7)
