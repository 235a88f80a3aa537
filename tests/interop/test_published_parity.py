"""Published weights of every layout, fetched, verified and converted, give the logits of the original network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytorchcv.model_provider
import torch
import torchvision.models
from interop_networks import randomise
from originals import mmpretrain
from torch import nn

from featherlight import create_model


def assert_same_logits(name: str, source: str | None, original: nn.Module) -> None:
    ours = create_model(name, pretrained=source or True).eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = original(images)
        torch.testing.assert_close(ours(images), expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("shufflenet_v1_g1_x0_25", "shufflenet_g1_wd4"),
        ("shufflenet_v1_g3_x0_75", "shufflenet_g3_w3d4"),
        ("shufflenet_v1_g8_x1_0.pytorchcv", "shufflenet_g8_w1"),
        ("mobilenet_v1_x0_25.pytorchcv", "mobilenet_wd4"),
        ("mobilenet_v1_x0_5.mindcv", "mobilenet_wd2"),
    ],
)
def test_pytorchcvs_weights(name: str, theirs: str, publish: Callable[..., None]) -> None:
    original = randomise(pytorchcv.model_provider.get_model(theirs, pretrained=False)).float()
    publish(name, original.state_dict(), "pytorchcv")
    assert_same_logits(name, "pytorchcv", original)


def test_mmpretrains_weights(publish: Callable[..., None]) -> None:
    original = randomise(mmpretrain.shufflenet_v1(3, 1.0, 1000)).float()
    publish("shufflenet_v1_g3_x1_0", {"meta": {}, "state_dict": original.state_dict()})
    assert_same_logits("shufflenet_v1_g3_x1_0", None, original)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("shufflenet_v2_x1_5", torchvision.models.shufflenet_v2_x1_5),
        ("mobilenet_v2_x1_0", torchvision.models.mobilenet_v2),
        ("mobilenet_v3_large", torchvision.models.mobilenet_v3_large),
    ],
)
def test_torchvisions_weights(name: str, theirs: Callable[..., nn.Module], publish: Callable[..., None]) -> None:
    original = randomise(theirs(weights=None)).float()
    publish(name, original.state_dict())
    assert_same_logits(name, None, original)
