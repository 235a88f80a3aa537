"""MobileNetV1 (Howard et al. 2017, arXiv 1704.04861): depthwise separable convolutions, one after another.

Other implementations differ in details; see :class:`featherlight.models.options.MobileNetV1Options`.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import Stem, conv_norm, finish, initialise_weights, stem_stride
from featherlight.models.options import MobileNetV1Options

_STEM_CHANNELS = 32
# Output channels and stride of each block at width 1 (Table 1 of the paper).
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_MIN_CHANNELS = 8
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}
_PAPER = MobileNetV1Options()


class DepthwiseSeparable(nn.Module):
    """MobileNetV1 block (Fig. 3): depthwise 3x3, then 1x1, each with batch normalisation and ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, options: MobileNetV1Options = _PAPER) -> None:
        super().__init__()
        activation, style = _ACTIVATIONS[options.activation], options.style
        self.depthwise = nn.Sequential(
            *conv_norm(in_channels, in_channels, 3, stride, groups=in_channels, activation=activation, style=style)
        )
        self.pointwise = nn.Sequential(*conv_norm(in_channels, out_channels, 1, activation=activation, style=style))

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
        options: where it differs from the authors' code.
    """

    def __init__(
        self,
        width_mult: float,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        dropout: float = 0.0,
        options: MobileNetV1Options = _PAPER,
    ) -> None:
        super().__init__()
        self.options = options
        channels, activation = _scale(_STEM_CHANNELS, width_mult), _ACTIVATIONS[options.activation]
        first = conv_norm(in_channels, channels, 3, stem_stride(stem), activation=activation, style=options.style)
        self.conv1 = nn.Sequential(*first)
        self.blocks = nn.Sequential()
        for out_channels, stride in _BLOCKS:
            self.blocks.append(DepthwiseSeparable(channels, _scale(out_channels, width_mult), stride, options))
            channels = _scale(out_channels, width_mult)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise_weights(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.blocks(self.conv1(x)).mean((2, 3))  # (N, C)
        return finish(self.fc(self.dropout(x)), self.options.output)


def mobilenet_v1(
    width_mult: float,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: Stem = "imagenet",
    dropout: float = 0.0,
    options: MobileNetV1Options = _PAPER,
) -> MobileNetV1:
    """MobileNetV1 at any positive width; the paper's are 0.25, 0.5, 0.75 and 1.0.

    Raises:
        UsageError: the width is not a positive number.
    """
    if not 0 < width_mult < math.inf:
        raise UsageError(f"MobileNetV1 cannot have width {width_mult:g}; give a positive number, 1.0 is the paper's")
    return MobileNetV1(width_mult, num_classes, in_channels, stem, dropout, options)


def _scale(channels: int, width_mult: float) -> int:
    return max(_MIN_CHANNELS, int(channels * width_mult))
