from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from featherlight.errors import UsageError
from featherlight.models.plainnet import plainnet


def convolution_widths(width_mult: float) -> list[int]:
    with torch.device("meta"):
        network = plainnet(width_mult, num_classes=7)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 7)
    return [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_any_positive_width_scales_all_channels_down_to_eight_at_least() -> None:
    assert convolution_widths(1.0) == [24, 64, 64, 256, 256, 256, 256]
    assert convolution_widths(1.3) == [31, 83, 83, 333, 333, 333, 333]
    assert convolution_widths(0.05) == [8, 8, 8, 13, 13, 13, 13]


@pytest.mark.parametrize("width", [0, -0.5, math.inf, math.nan])
def test_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="give a positive number"):
        plainnet(width)


@pytest.mark.parametrize(("stem", "sides"), [("cifar", [31, 15, 7, 3]), ("imagenet", [16, 8, 4, 2])])
def test_each_stage_halves_the_image_and_the_imagenet_stem_does_so_too(stem: str, sides: list[int]) -> None:
    network = plainnet(0.25, stem=stem)
    x = network.conv1(torch.zeros(1, 3, 32, 32))
    found = [x.shape[2]]
    for stage in network.stages:
        x = stage(x)
        found.append(x.shape[2])
    assert found == sides


def test_stages_begin_by_passing_their_channels_on() -> None:
    torch.manual_seed(0)
    first = plainnet(0.25).stages[1][0]
    x = torch.randn(2, 16, 5, 5)
    passed = first(x)
    assert torch.allclose(passed[:, :16], x, atol=1e-6)
    assert passed.shape[1] == 64
    assert passed[:, 16:].std() > 0.1


def test_each_convolution_is_dense_with_a_norm_and_relu_behind_it() -> None:
    layers = [module for module in plainnet(0.25).modules() if not list(module.children())]
    convolutions = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 7
    for place in convolutions:
        assert layers[place].groups == 1
        assert [type(layer) for layer in layers[place + 1 : place + 3]] == [nn.BatchNorm2d, nn.ReLU]
