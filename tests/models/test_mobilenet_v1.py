from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from featherlight.errors import UsageError
from featherlight.models.mobilenet_v1 import mobilenet_v1


def convolution_widths(width_mult: float) -> list[int]:
    with torch.device("meta"):
        network = mobilenet_v1(width_mult, num_classes=7)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 7)
    return [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)][::2]


def test_any_positive_width_scales_all_channels_down_to_eight_at_least() -> None:
    full = convolution_widths(1.0)
    assert full == [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    assert convolution_widths(1.4) == [int(1.4 * channels) for channels in full]
    assert convolution_widths(0.05) == [8, 8, 8, 8, 12, 12, *[25] * 6, 51, 51]


@pytest.mark.parametrize("width", [0, -0.5, math.inf, math.nan])
def test_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="give a positive number"):
        mobilenet_v1(width)


def test_each_convolution_has_a_norm_and_relu6_and_the_classifier_a_bias() -> None:
    network = mobilenet_v1(0.25)
    kinds = [type(module) for module in network.modules() if not list(module.children())]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6] * 27 + [nn.Dropout, nn.Linear]
    assert network.fc.bias is not None
