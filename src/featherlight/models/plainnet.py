"""PlainNet: dense 3x3 convolutions one after another, for small images.

A network of our own. Its shape is that of VGG (Simonyan & Zisserman 2015, arXiv 1409.1556) with batch normalisation, as
small as the networks that learn CIFAR-10 in seconds on a GPU (Jordan 2024, arXiv 2404.00498). Depthwise separable
convolutions need fewer multiply-adds, but those are bound by memory; a CPU computes a dense convolution several times
as fast for each multiply-add. Images of up to 64 px are so small that this pays: trained as long, it is the more
accurate.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import Stem, conv_norm, initialise_weights, stem_pool, stem_stride

_STEM_CHANNELS = 32
_STAGE_CHANNELS = (64, 128, 192)  # at width 1
_MIN_CHANNELS = 8


class Stage(nn.Sequential):
    """Halves the image by its maxima, then two convolutions with norm and ReLU: (N, C, H, W) -> (N, C', H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.MaxPool2d(3, 2, padding=1),
            *conv_norm(in_channels, out_channels, 3),
            *conv_norm(out_channels, out_channels, 3),
        )


class PlainNet(nn.Module):
    """PlainNet: stem, three stages, classifier.

    Args:
        width_mult: multiplies every channel count c to ``max(8, round(c * width_mult))``.
        num_classes: outputs.
        in_channels: channels of the image.
        stem: "cifar" keeps the image's size, "imagenet" makes it a quarter (stride 2, then maxima).
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
        self.conv1 = nn.Sequential(*conv_norm(in_channels, channels, 3, stem_stride(stem)))
        self.maxpool = stem_pool(stem)
        self.stages = nn.Sequential()
        for out_channels in widths:
            self.stages.append(Stage(channels, out_channels))
            channels = out_channels
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise_weights(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.stages(self.maxpool(self.conv1(x))).mean((2, 3))  # (N, C)
        logits: Tensor = self.fc(self.dropout(x))
        return logits


def plainnet(
    width_mult: float, num_classes: int = 1000, in_channels: int = 3, stem: Stem = "imagenet", dropout: float = 0.0
) -> PlainNet:
    """PlainNet at any positive width; 0.25, 0.5, 1.0 and 2.0 are registered.

    Raises:
        UsageError: the width is not a positive number.
    """
    if not 0 < width_mult < math.inf:
        raise UsageError(f"PlainNet cannot have width {width_mult:g}; give a positive number, for example 1.0")
    return PlainNet(width_mult, num_classes, in_channels, stem, dropout)
