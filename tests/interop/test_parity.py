"""The original implementation's logits, from its own file, with random weights and random running statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytorchcv.model_provider
import timm
import torch
import torchvision
from interop_networks import assert_same_logits, images, randomise
from originals import ascend, jaxony, keras, kuangliu, megvii, mindspore, mmpretrain
from torch import Tensor, nn

from featherlight.interop.shuffles import inverse_shuffle, reorder_shufflenet_v1
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.foreign import load_weights
from featherlight.models.registry import create_model


class Case(NamedTuple):
    """A network of ours, the original, and an input size that the original takes."""

    name: str
    build: Callable[[], nn.Module]
    size: int


def pytorchcv_network(name: str) -> Callable[[], nn.Module]:
    return lambda: pytorchcv.model_provider.get_model(name, num_classes=10)


def torchvision_network(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=10)


CASES = [
    *(
        Case(f"shufflenet_v1_g{g}_x1_0.jaxony", lambda g=g: jaxony.ShuffleNet(g, num_classes=10), 65)
        for g in jaxony.CHANNELS
    ),
    Case("shufflenet_v1_g2_x1_0.kuangliu", kuangliu.ShuffleNetG2, 32),
    Case("shufflenet_v1_g3_x1_0.kuangliu", kuangliu.ShuffleNetG3, 32),
    Case("shufflenet_v2_x0_5", lambda: kuangliu.ShuffleNetV2((48, 96, 192, 1024)), 32),
    Case("mobilenet_v1_x1_0.kuangliu", kuangliu.MobileNet, 32),
    Case("mobilenet_v1_x1_0.ascend", lambda: ascend.MobileNetV1(num_classes=10), 32),
    Case("shufflenet_v1_g3_x0_5.megvii", lambda: megvii.ShuffleNetV1(3, "x0_5", 10), 224),
    Case("shufflenet_v1_g8_x0_5.megvii", lambda: megvii.ShuffleNetV1(8, "x0_5", 10), 224),
    Case("shufflenet_v2_x0_5.megvii", lambda: megvii.ShuffleNetV2("x0_5", 10), 224),
    Case("shufflenet_v2_x1_0.megvii", lambda: megvii.ShuffleNetV2("x1_0", 10), 224),
    Case("shufflenet_v1_g3_x0_5.mmpretrain", lambda: mmpretrain.shufflenet_v1(3, 0.5, 10), 65),
    Case("shufflenet_v1_g8_x1_0.mmpretrain", lambda: mmpretrain.shufflenet_v1(8, 1.0, 10), 65),
    Case("shufflenet_v2_x0_5", lambda: mmpretrain.shufflenet_v2((48, 96, 192, 1024), 10), 65),
    Case("shufflenet_v1_g1_x0_25.pytorchcv", pytorchcv_network("shufflenet_g1_wd4"), 224),
    Case("shufflenet_v1_g3_x0_25.pytorchcv", pytorchcv_network("shufflenet_g3_wd4"), 224),
    Case("shufflenet_v1_g8_x1_0.pytorchcv", pytorchcv_network("shufflenet_g8_w1"), 224),
    Case("shufflenet_v2_x0_5.pytorchcv", pytorchcv_network("shufflenetv2_wd2"), 224),
    Case("shufflenet_v2_x1_0.pytorchcv_b", pytorchcv_network("shufflenetv2b_w1"), 224),
    Case("mobilenet_v1_x0_25.pytorchcv", pytorchcv_network("mobilenet_wd4"), 224),
    Case("mobilenet_v1_x1_0.timm", lambda: timm.create_model("mobilenetv1_100", num_classes=10), 65),
    Case("shufflenet_v2_x1_5", torchvision_network("shufflenet_v2_x1_5"), 65),
    Case("mobilenet_v2_x1_0", torchvision_network("mobilenet_v2"), 65),
    Case("mobilenet_v3_small", torchvision_network("mobilenet_v3_small"), 65),
    Case("mobilenet_v3_large", torchvision_network("mobilenet_v3_large"), 65),
]
OTHER_WIDTHS = [
    *(
        Case(f"shufflenet_v1_g{g}_{width}.megvii", lambda g=g, width=width: megvii.ShuffleNetV1(g, width, 10), 224)
        for g, width in megvii.V1_CHANNELS
        if width != "x0_5"
    ),
    *(
        Case(f"shufflenet_v2_{width}.megvii", lambda width=width: megvii.ShuffleNetV2(width, 10), 224)
        for width in ("x1_5", "x2_0")
    ),
    *(
        Case(name, lambda name=name: mmpretrain.shufflenet_v1(**model_info(name).arguments, num_classes=10), 96)
        for name in list_models("*.mmpretrain")
    ),
    *(
        Case(f"shufflenet_v1_{g}_{ours}.pytorchcv", pytorchcv_network(f"shufflenet_{g}_{theirs}"), 224)
        for g, ours, theirs in (
            ("g1", "x0_5", "wd2"),
            ("g1", "x0_75", "w3d4"),
            ("g1", "x1_0", "w1"),
            ("g2", "x1_0", "w1"),
            ("g3", "x0_5", "wd2"),
            ("g3", "x0_75", "w3d4"),
            ("g3", "x1_0", "w1"),
            ("g4", "x1_0", "w1"),
        )
    ),
    *(
        Case(f"shufflenet_v2_{ours}.pytorchcv{tag}", pytorchcv_network(f"shufflenetv2{their_tag}_{theirs}"), 224)
        for ours, theirs in (("x0_5", "wd2"), ("x1_0", "w1"), ("x1_5", "w3d2"), ("x2_0", "w2"))
        for tag, their_tag in (("", ""), ("_b", "b"))
    ),
    *(
        Case(f"mobilenet_v1_{ours}.pytorchcv", pytorchcv_network(f"mobilenet_{theirs}"), 224)
        for ours, theirs in (("x0_5", "wd2"), ("x0_75", "w3d4"), ("x1_0", "w1"))
    ),
]


def test_every_variant_is_compared_with_its_original() -> None:
    compared = {case.name for case in (*CASES, *OTHER_WIDTHS)}
    names = {name for name in list_models("*.*") if model_info(name).tag not in ("mindspore", "mindcv", "keras")}
    assert names <= compared


def check(case: Case, path: Path) -> None:
    theirs = randomise(case.build())
    torch.save(theirs.state_dict(), path)
    ours = load_weights(create_model(case.name, num_classes=10, input_size=case.size).double().eval(), path)
    x = images(case.size)
    with torch.inference_mode():
        assert_same_logits(ours(x), theirs(x))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_network_gives_the_originals_logits(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path / "weights.pth")


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHER_WIDTHS, ids=lambda case: case.name)
def test_network_of_another_width_gives_the_originals_logits(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path / "weights.pth")


@pytest.mark.parametrize("case", [CASES[6], CASES[10], CASES[13], CASES[16]], ids=lambda case: case.name)
def test_reordering_costs_no_accuracy_in_float32(case: Case, tmp_path: Path) -> None:
    theirs = randomise(case.build())
    scale_logits(theirs, case.size)
    theirs.float()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_weights(create_model(case.name, num_classes=10, input_size=case.size).eval(), tmp_path / "weights.pth")
    x = images(case.size).float()
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def scale_logits(network: nn.Module, size: int) -> None:
    """Brings logits to the size that trained ones have."""
    classifier = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        scale = network(images(size)).std()
        for parameter in classifier.parameters():
            parameter.div_(scale)


def test_jaxonys_repository_returns_log_softmax(tmp_path: Path) -> None:
    theirs = randomise(jaxony.ShuffleNet(3, num_classes=10, log_softmax=True))
    scale_logits(theirs, 65)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = create_model("shufflenet_v1_g3_x1_0.jaxony", num_classes=10, options={"output": "log_softmax"}).double()
    load_weights(ours.eval(), tmp_path / "weights.pth")
    x = images(65)
    with torch.inference_mode():
        assert_same_logits(ours(x), theirs(x))


def test_plain_network_takes_the_ascend_courses_weights_and_gives_logits(tmp_path: Path) -> None:
    theirs = randomise(ascend.MobileNetV1(num_classes=10, softmax=False))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_weights(create_model("mobilenet_v1_x1_0", 10, stem="cifar").double().eval(), tmp_path / "weights.pth")
    x = images(32)
    with torch.inference_mode():
        assert_same_logits(ours(x), theirs(x))


SIZES = [(64, 64), (65, 65), (97, 130), (130, 97), (48, 33)]  # even and odd, also further down


@pytest.mark.parametrize(
    ("groups", "width"), [(3, "x0_5"), (8, "x0_5"), pytest.param(8, "x2_0", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("tag", ["mindspore", "mindcv"])
def test_network_of_mindspore_gives_the_originals_logits(tag: str, groups: int, width: str) -> None:
    theirs = randomise(mindspore.ShuffleNetV1(groups, width, 10, bias=tag == "mindspore"))
    ours = create_model(f"shufflenet_v1_g{groups}_{width}.{tag}", num_classes=10).double().eval()
    state = dict(zip(ours.state_dict(), one_piece(theirs).values(), strict=True))
    ours.load_state_dict(reorder_shufflenet_v1(state, ours, shuffle=inverse_shuffle))
    for size in SIZES:
        with torch.inference_mode():
            assert_same_logits(ours(images(*size)), theirs(images(*size)))


def one_piece(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network whose grouped convolutions are lists, each list joined; the order stays."""
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in network.state_dict().items():
        joined.setdefault(name.partition(".convs.")[0] if ".convs." in name else name, []).append(tensor)
    return {name: torch.cat(parts) if len(parts) > 1 else parts[0] for name, parts in joined.items()}


def test_network_of_the_keras_article_gives_the_originals_logits() -> None:
    theirs = randomise(keras.ShuffleNet(10))
    ours = create_model("shufflenet_v2_x1_0.keras", num_classes=10).double().eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    for size in SIZES:
        with torch.inference_mode():
            assert_same_logits(ours(images(*size)), theirs(images(*size)))


def test_pytorchcvs_pooling_is_right_for_odd_sizes_too(tmp_path: Path) -> None:
    theirs = randomise(pytorchcv_network("shufflenetv2_wd2")())
    theirs.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own takes 224 px only
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_weights(create_model("shufflenet_v2_x0_5.pytorchcv", 10).double().eval(), tmp_path / "weights.pth")
    for size in SIZES:
        with torch.inference_mode():
            assert_same_logits(ours(images(*size)), theirs(images(*size)))
