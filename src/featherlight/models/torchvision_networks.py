"""MobileNetV2 and V3: torchvision's networks, adapted to any image channels and to small images.

Child names stay torchvision's, so that its state dicts load unmapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv2 import mobilenet_v2 as torchvision_mobilenet_v2
from torchvision.models.mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small

from featherlight.models.layers import Stem

_V3: dict[str, Callable[..., MobileNetV3]] = {"small": mobilenet_v3_small, "large": mobilenet_v3_large}


def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet", dropout: float = 0.2
) -> MobileNetV2:
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) at width 1."""
    network: MobileNetV2 = torchvision_mobilenet_v2(weights=None, num_classes=num_classes, dropout=dropout)
    _adapt(network.features, in_channels, stem)
    return network


def mobilenet_v3(
    size: Literal["small", "large"],
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: Stem = "imagenet",
    dropout: float = 0.2,
) -> MobileNetV3:
    """MobileNetV3 small or large (Howard et al. 2019, arXiv 1905.02244) at width 1."""
    network = _V3[size](weights=None, num_classes=num_classes, dropout=dropout)
    _adapt(network.features, in_channels, stem)
    return network


BUILDERS: dict[str, Callable[..., nn.Module]] = {"mobilenet_v2": mobilenet_v2, "mobilenet_v3": mobilenet_v3}


def _adapt(features: nn.Sequential, in_channels: int, stem: Stem) -> None:
    if in_channels != 3:
        _replace_first_convolution(features[0], in_channels)
    if stem == "cifar":
        _use_small_strides(features)


def _replace_first_convolution(stem: nn.Module, in_channels: int) -> None:
    out_channels = _convolutions(stem)[0].out_channels
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    stem.register_module("0", convolution)


def _use_small_strides(features: nn.Sequential) -> None:
    """Sets the stem and the first stride-2 block to stride 1, as kuangliu and chenyaofo do for MobileNetV2 on CIFAR."""
    stem, block = [child for child in features if _strided(child)][:2]
    for convolution in _strided(stem) + _strided(block):
        convolution.stride = (1, 1)
    # The families' own rule: a block with stride 1 and equal channels adds its input (so V3 small's first one).
    convolutions = _convolutions(block)
    block.use_res_connect = convolutions[0].in_channels == convolutions[-1].out_channels  # type: ignore[assignment]


def _strided(module: nn.Module) -> list[nn.Conv2d]:
    return [convolution for convolution in _convolutions(module) if convolution.stride == (2, 2)]


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [child for child in module.modules() if isinstance(child, nn.Conv2d)]
