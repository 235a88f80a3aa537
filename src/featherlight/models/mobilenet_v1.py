"""MobileNetV1 (Howard et al. 2017, arXiv 1704.04861): depthwise separable convolutions, one after another."""

from __future__ import annotations

import math

from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import Stem, conv_norm, initialise_weights, stem_stride

_STEM_CHANNELS = 32
# Output channels and stride of each block at width 1 (Table 1 of the paper).
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_MIN_CHANNELS = 8


class DepthwiseSeparable(nn.Module):
    """MobileNetV1 block (Fig. 3): depthwise 3x3, then 1x1, each with batch normalisation and ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        depthwise = conv_norm(in_channels, in_channels, 3, stride, groups=in_channels, activation=nn.ReLU6)
        self.depthwise = nn.Sequential(*depthwise)
        self.pointwise = nn.Sequential(*conv_norm(in_channels, out_channels, 1, activation=nn.ReLU6))

    def forward(self, x: Tensor) -> Tensor:  # (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s))
        """Runs the block."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class MobileNetV1(nn.Module):
    """MobileNetV1: stem, thirteen depthwise separable blocks, classifier.

    Args:
        width_mult: multiplies every channel count c to ``max(8, int(c * width_mult))``, as TF-Slim does.
        num_classes: outputs.
        in_channels: channels of the image.
        stem: "imagenet" (stride 2) or "cifar" (stride 1).
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        width_mult: float,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = _scale(_STEM_CHANNELS, width_mult)
        self.conv1 = nn.Sequential(*conv_norm(in_channels, channels, 3, stem_stride(stem), activation=nn.ReLU6))
        self.blocks = nn.Sequential()
        for out_channels, stride in _BLOCKS:
            self.blocks.append(DepthwiseSeparable(channels, _scale(out_channels, width_mult), stride))
            channels = _scale(out_channels, width_mult)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise_weights(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.blocks(self.conv1(x)).mean((2, 3))  # (N, C)
        logits: Tensor = self.fc(self.dropout(x))
        return logits


def mobilenet_v1(
    width_mult: float, num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet", dropout: float = 0.0
) -> MobileNetV1:
    """MobileNetV1 at any positive width; the paper's are 0.25, 0.5, 0.75 and 1.0.

    Raises:
        UsageError: the width is not a positive number.
    """
    if not 0 < width_mult < math.inf:
        raise UsageError(f"MobileNetV1 cannot have width {width_mult:g}; give a positive number, 1.0 is the paper's")
    return MobileNetV1(width_mult, num_classes, in_channels, stem, dropout)


def _scale(channels: int, width_mult: float) -> int:
    return max(_MIN_CHANNELS, int(channels * width_mult))
