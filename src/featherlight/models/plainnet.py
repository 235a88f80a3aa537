"""PlainNet: a few dense 3x3 convolutions one after another, for small images.

A network of our own. Its shape follows the one that learns CIFAR-10 in seconds on a GPU (Jordan 2024, arXiv
2404.00498), with ReLU, usual norms and nothing that depends on the images. Depthwise separable convolutions need fewer
multiply-adds, but are bound by memory: for each of them a CPU takes longer than for those of dense convolutions, with
PyTorch's operators about four times as long. With images of up to 64 px PlainNet is the more accurate after the same
time of training (docs/results.md). Larger images want another network.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import Stem, conv_norm, initialise_weights, stem_stride

_STEM_CHANNELS = 24
_STAGE_CHANNELS = (64, 256, 256)  # at width 1
_MIN_CHANNELS = 8


class Stage(nn.Sequential):
    """Two convolutions with norm and ReLU, 2x2 max pooling between: (N, C, H, W) -> (N, C', H // 2, W // 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            *conv_norm(in_channels, out_channels, 3), nn.MaxPool2d(2), *conv_norm(out_channels, out_channels, 3)
        )


class PlainNet(nn.Module):
    """PlainNet: stem, three stages, classifier.

    Args:
        width_mult: multiplies every channel count c to ``max(8, round(c * width_mult))``.
        num_classes: outputs.
        in_channels: channels of the image.
        stem: 2x2 convolution with stride 1 ("cifar") or 2 ("imagenet").
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
        channels, *widths = (max(_MIN_CHANNELS, round(c * width_mult)) for c in (_STEM_CHANNELS, *_STAGE_CHANNELS))
        # No padding: 32 pixels become 31, then 15, 7 and 3, with a quarter less to compute than 16, 8 and 4.
        first = nn.Conv2d(in_channels, channels, 2, stem_stride(stem), bias=False)
        self.conv1 = nn.Sequential(first, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        for out_channels in widths:
            self.stages.append(Stage(channels, out_channels))
            channels = out_channels
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise_weights(self)
        for layer in self.stages.modules():
            if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
                _begin_as_identity(layer)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.stages(self.conv1(x)).mean((2, 3))  # (N, C)
        logits: Tensor = self.fc(self.dropout(x))
        return logits


def plainnet(
    width_mult: float, num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet", dropout: float = 0.0
) -> PlainNet:
    """PlainNet at any positive width; 0.25, 0.5 and 1.0 are registered.

    Raises:
        UsageError: the width is not a positive number.
    """
    if not 0 < width_mult < math.inf:
        raise UsageError(f"PlainNet cannot have width {width_mult:g}; give a positive number, for example 1.0")
    return PlainNet(width_mult, num_classes, in_channels, stem, dropout)


def _begin_as_identity(layer: nn.Conv2d) -> None:
    """The first output channels pass the input channels on, the others are random (Jordan 2024, section 3.3)."""
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
    nn.init.dirac_(layer.weight.data[: layer.in_channels])
