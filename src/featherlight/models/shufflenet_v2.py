"""ShuffleNetV2 (Ma et al. 2018, arXiv 1807.11164): half of the channels pass by, the other half work.

Child names are torchvision's, so that its state dicts load unmapped. Other implementations differ in details; see
:class:`featherlight.models.options.ShuffleNetV2Options`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import (
    Stem,
    channel_shuffle,
    conv_norm,
    finish,
    initialise_weights,
    shuffle_groups,
    stem_pool,
    stem_stride,
)
from featherlight.models.options import ShuffleNetV2Options

# Channels after stages 2, 3, 4 and the last convolution, by width (Table 5 of the paper).
_CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
_STEM_CHANNELS = 24
_REPEATS = (4, 8, 4)
_PAPER = ShuffleNetV2Options()


class ShuffleUnit(nn.Module):
    """ShuffleNetV2 unit (Fig. 3c-d): split, work on one half, concatenate, shuffle.

    Stride 1 splits the input, so ``in_channels == out_channels``. Stride 2 does not split: both
    branches see the whole input, and each makes half of the output, unless the options say otherwise.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, options: ShuffleNetV2Options = _PAPER) -> None:
        super().__init__()
        self.stride = stride
        self.shuffle_groups = shuffle_groups(options.shuffle, out_channels, groups=2)
        half, style = out_channels // 2, options.style
        left = in_channels if stride == 2 and options.shortcut == "input" else half
        middle = in_channels // 2 if stride == 2 and options.middle == "input" else half
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                *conv_norm(in_channels, in_channels, 3, stride, groups=in_channels, activation=None, style=style),
                *conv_norm(in_channels, left, 1, style=style),
            )
        self.branch2 = nn.Sequential(
            *conv_norm(half if stride == 1 else in_channels, middle, 1, style=style),
            *conv_norm(middle, middle, 3, stride, groups=middle, activation=None, style=style),
            *conv_norm(middle, out_channels - left, 1, style=style),
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s))
        """Runs the unit."""
        left, right = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return channel_shuffle(torch.cat((left, self.branch2(right)), dim=1), self.shuffle_groups)


def _stage(in_channels: int, out_channels: int, repeats: int, options: ShuffleNetV2Options) -> nn.Sequential:
    stage = nn.Sequential(ShuffleUnit(in_channels, out_channels, 2, options))
    for _ in range(repeats - 1):
        stage.append(ShuffleUnit(out_channels, out_channels, 1, options))
    return stage


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2: stem, three stages of 4, 8 and 4 units, a last 1x1 convolution, classifier.

    Args:
        channels: after stages 2, 3, 4 and the last convolution.
        num_classes: outputs.
        in_channels: channels of the image.
        stem: "imagenet" (stride 2, pooling) or "cifar" (neither).
        dropout: probability before the classifier.
        options: where it differs from the paper's.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        dropout: float = 0.0,
        options: ShuffleNetV2Options = _PAPER,
    ) -> None:
        super().__init__()
        self.options = options
        style, stride = options.style, stem_stride(stem)
        stage2, stage3, stage4, last = channels
        first = conv_norm(in_channels, _STEM_CHANNELS, 3, stride, style=style, norm=options.stem_norm)
        self.conv1 = nn.Sequential(*first)
        self.maxpool = stem_pool(stem, options.pool_padding)
        self.stage2 = _stage(_STEM_CHANNELS, stage2, _REPEATS[0], options)
        self.stage3 = _stage(stage2, stage3, _REPEATS[1], options)
        self.stage4 = _stage(stage3, stage4, _REPEATS[2], options)
        self.conv5 = nn.Sequential(*conv_norm(stage4, last, 1, style=style, norm=options.last_norm))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, num_classes, bias=options.classifier_bias)
        initialise_weights(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        x = self.conv5(x).mean((2, 3))  # (N, C)
        return finish(self.fc(self.dropout(x)), self.options.output)


def shufflenet_v2(
    width_mult: float,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: Stem = "imagenet",
    dropout: float = 0.0,
    options: ShuffleNetV2Options = _PAPER,
) -> ShuffleNetV2:
    """ShuffleNetV2 at one of the paper's widths: 0.5, 1.0, 1.5, 2.0.

    Raises:
        UsageError: another width.
    """
    if width_mult not in _CHANNELS:
        widths = ", ".join(str(width) for width in _CHANNELS)
        raise UsageError(f"ShuffleNetV2 has no width {width_mult:g}; its widths are {widths}")
    *stages, last = _CHANNELS[width_mult]
    channels = (stages[0], stages[1], stages[2], options.last_channels or last)
    return ShuffleNetV2(channels, num_classes, in_channels, stem, dropout, options)
