from __future__ import annotations

import pytest
import pytorchcv.model_provider
import timm
import torch
import torchvision
from originals import ascend, jaxony, kuangliu, megvii, mmpretrain

from featherlight.errors import ModelFileError, UsageError
from featherlight.interop.layouts import LAYOUTS, layout_names, named_layout, recognise_layout
from featherlight.models.registry import create_model


def names_of(network: torch.nn.Module) -> list[str]:
    return list(network.state_dict())


with torch.device("meta"):
    ORIGINALS = {
        ("torchvision", "shufflenet_v2"): names_of(torchvision.models.shufflenet_v2_x0_5()),
        ("torchvision", "mobilenet_v2"): names_of(torchvision.models.mobilenet_v2()),
        ("torchvision", "mobilenet_v3"): names_of(torchvision.models.mobilenet_v3_small()),
        ("featherlight", "shufflenet_v1"): names_of(create_model("shufflenet_v1_g3_x1_0")),
        ("featherlight", "mobilenet_v1"): names_of(create_model("mobilenet_v1_x0_25")),
        ("timm", "mobilenet_v1"): names_of(timm.create_model("mobilenetv1_100")),
        ("ascend", "mobilenet_v1"): names_of(ascend.MobileNetV1()),
        ("jaxony", "shufflenet_v1"): names_of(jaxony.ShuffleNet()),
        ("megvii", "shufflenet_v1"): names_of(megvii.ShuffleNetV1(3, "x0_5")),
        ("megvii", "shufflenet_v2"): names_of(megvii.ShuffleNetV2("x0_5")),
        ("mmpretrain", "shufflenet_v1"): names_of(mmpretrain.shufflenet_v1(3, 1.0)),
        ("mmpretrain", "shufflenet_v2"): names_of(mmpretrain.shufflenet_v2((48, 96, 192, 1024))),
        ("kuangliu", "shufflenet_v1"): names_of(kuangliu.ShuffleNetG2()),
        ("kuangliu", "shufflenet_v2"): names_of(kuangliu.ShuffleNetV2((48, 96, 192, 1024))),
        ("kuangliu", "mobilenet_v1"): names_of(kuangliu.MobileNet()),
        ("pytorchcv", "shufflenet_v1"): names_of(pytorchcv.model_provider.get_model("shufflenet_g3_wd4")),
        ("pytorchcv", "shufflenet_v2"): names_of(pytorchcv.model_provider.get_model("shufflenetv2_wd2")),
        ("pytorchcv_b", "shufflenet_v2"): names_of(pytorchcv.model_provider.get_model("shufflenetv2b_wd2")),
        ("pytorchcv", "mobilenet_v1"): names_of(pytorchcv.model_provider.get_model("mobilenet_wd4")),
    }
    FOREIGN = {
        **{name: names_of(torchvision.models.get_model(name)) for name in ("resnet18", "resnet152", "mnasnet0_5")},
        **{name: names_of(timm.create_model(name)) for name in ("mobilenetv2_050", "efficientnet_b0", "regnetx_002")},
        **{name: names_of(pytorchcv.model_provider.get_model(name)) for name in ("resnet10", "mobilenetb_wd4")},
    }


def test_every_layout_is_tried_here() -> None:
    assert set(ORIGINALS) <= {(layout.name, layout.family) for layout in LAYOUTS}
    by_pytorch = {
        (layout.name, layout.family) for layout in LAYOUTS if layout.name not in ("mindspore", "mindcv", "keras")
    }
    assert by_pytorch - {("featherlight", "shufflenet_v2")} == set(ORIGINALS)  # that has torchvision's names


@pytest.mark.parametrize(("original", "names"), ORIGINALS.items(), ids=lambda value: str(value)[:50])
def test_each_layout_is_recognised_and_taken_for_no_other(original: tuple[str, str], names: list[str]) -> None:
    found = [(layout.name, layout.family) for layout in LAYOUTS if layout.recognise(names)]
    assert found == [original]
    assert recognise_layout("w.pth", names, original[1]).name == original[0]


@pytest.mark.parametrize("network", FOREIGN)
def test_other_networks_are_taken_for_none(network: str) -> None:
    assert [layout.name for layout in LAYOUTS if layout.recognise(FOREIGN[network])] == []
    with pytest.raises(ModelFileError, match=r"^w.pth: its names \(.*\) are of no layout that is known for shuff"):
        recognise_layout("w.pth", FOREIGN[network], "shufflenet_v2")


def test_weights_of_another_family_are_named() -> None:
    with pytest.raises(
        ModelFileError, match=r"^w.pth: weights of shufflenet_v1 in megvii's layout, not of mobilenet_v2$"
    ):
        recognise_layout("w.pth", ORIGINALS["megvii", "shufflenet_v1"], "mobilenet_v2")


def test_layouts_are_known_by_name_and_family() -> None:
    assert named_layout("megvii", "shufflenet_v2").translate is not named_layout("megvii", "shufflenet_v1").translate
    with pytest.raises(UsageError, match=r"there is no layout 'jaxony' for shufflenet_v2; choose one of .*pytorchcv"):
        named_layout("jaxony", "shufflenet_v2")
    assert layout_names("mobilenet_v3") == ["torchvision"]
    assert len(set(layout_names())) == len(layout_names())
