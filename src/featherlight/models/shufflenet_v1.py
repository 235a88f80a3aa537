"""ShuffleNetV1 (Zhang et al. 2018, arXiv 1707.01083): grouped 1x1 convolutions that talk through a channel shuffle.

Other implementations differ in details; see :class:`featherlight.models.options.ShuffleNetV1Options`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.layers import (
    Stem,
    average_pool,
    channel_shuffle,
    conv_norm,
    finish,
    initialise_weights,
    shuffle_groups,
    stem_pool,
    stem_stride,
)
from featherlight.models.options import ShuffleNetV1Options

# Channels after stages 2, 3, 4 at width 1, by groups (Table 1 of the paper).
_STAGE_CHANNELS = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
# The paper scales "the number of filters" but its costs fit only if the stem follows in these steps.
_STEM_CHANNELS = {0.25: 6, 0.5: 12, 0.75: 18, 1.0: 24, 1.5: 24, 2.0: 48}
_REPEATS = (4, 8, 4)
_PAPER = ShuffleNetV1Options()


class ShuffleUnit(nn.Module):
    """ShuffleNetV1 unit (Fig. 2b-c): squeeze, shuffle, depthwise, expand.

    Stride 1 adds the input, so ``in_channels == out_channels``. Stride 2 concatenates the
    pooled input, so the branch only makes ``out_channels - in_channels`` channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; the middle usually has a quarter of them.
        stride: 1 or 2.
        groups: of the shuffle and of the 1x1 convolutions.
        squeeze_groups: of the first 1x1 convolution, where they differ from ``groups``.
        options: where it differs from the paper's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        squeeze_groups: int | None = None,
        options: ShuffleNetV1Options = _PAPER,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.groups = groups
        self.pool_padding = options.pool_padding
        branch = out_channels if stride == 1 else out_channels - in_channels
        middle = (branch if options.middle == "branch" else out_channels) // 4
        self.shuffle_groups = shuffle_groups(options.shuffle, middle, groups)
        activation, style = nn.ReLU if options.depthwise_activation else None, options.style
        self.squeeze = nn.Sequential(*conv_norm(in_channels, middle, 1, groups=squeeze_groups or groups, style=style))
        self.depthwise = nn.Sequential(*conv_norm(middle, middle, 3, stride, middle, activation, style))
        self.expand = nn.Sequential(*conv_norm(middle, branch, 1, groups=groups, activation=None, style=style))

    def forward(self, x: Tensor) -> Tensor:  # (N, C_in, H, W) -> (N, C_out, ceil(H/s), ceil(W/s))
        """Runs the unit."""
        branch = channel_shuffle(self.squeeze(x), self.shuffle_groups)
        branch = self.expand(self.depthwise(branch))
        if self.stride == 1:
            return F.relu(x + branch, inplace=True)
        shortcut = average_pool(x, self.pool_padding)
        return F.relu(torch.cat((shortcut, branch), dim=1), inplace=True)


def _stage(
    in_channels: int, out_channels: int, repeats: int, groups: int, squeeze_groups: int, options: ShuffleNetV1Options
) -> nn.Sequential:
    stage = nn.Sequential(ShuffleUnit(in_channels, out_channels, 2, groups, squeeze_groups, options))
    for _ in range(repeats - 1):
        stage.append(ShuffleUnit(out_channels, out_channels, 1, groups, options=options))
    return stage


class ShuffleNetV1(nn.Module):
    """ShuffleNetV1: stem, three stages of 4, 8 and 4 units, classifier.

    Args:
        groups: of the 1x1 convolutions. The first one of stage 2 has few inputs and is not grouped.
        stem_channels: channels after the first convolution.
        stage_channels: channels after stages 2, 3 and 4.
        num_classes: outputs.
        in_channels: channels of the image.
        stem: "imagenet" (stride 2, pooling) or "cifar" (neither).
        dropout: probability before the classifier.
        options: where it differs from the paper's.
    """

    def __init__(
        self,
        groups: int,
        stem_channels: int,
        stage_channels: tuple[int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        dropout: float = 0.0,
        options: ShuffleNetV1Options = _PAPER,
    ) -> None:
        super().__init__()
        self.options = options
        stage2, stage3, stage4 = stage_channels
        kernel, stride = options.stem_kernel, stem_stride(stem)
        first = conv_norm(in_channels, stem_channels, kernel, stride, style=options.style, norm=options.stem_norm)
        self.conv1 = nn.Sequential(*first)
        self.maxpool = stem_pool(stem, options.pool_padding)
        self.stage2 = _stage(stem_channels, stage2, _REPEATS[0], groups, 1, options)
        self.stage3 = _stage(stage2, stage3, _REPEATS[1], groups, groups, options)
        self.stage4 = _stage(stage3, stage4, _REPEATS[2], groups, groups, options)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(stage4, num_classes, bias=options.classifier_bias)
        initialise_weights(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W) -> (N, num_classes)
        """Images to logits."""
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        x = x.mean((2, 3))  # (N, C)
        return finish(self.fc(self.dropout(x)), self.options.output)


def shufflenet_v1(
    groups: int,
    width_mult: float,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: Stem = "imagenet",
    dropout: float = 0.0,
    options: ShuffleNetV1Options = _PAPER,
) -> ShuffleNetV1:
    """ShuffleNetV1 with the paper's channels for ``groups`` (1, 2, 3, 4, 8) times ``width_mult`` (0.25 to 2).

    Raises:
        UsageError: such a network does not exist, because its channels do not divide by the groups.
    """
    stem_channels, stage_channels = _channels(groups, width_mult, options)
    return ShuffleNetV1(groups, stem_channels, stage_channels, num_classes, in_channels, stem, dropout, options)


def _channels(groups: int, width_mult: float, options: ShuffleNetV1Options) -> tuple[int, tuple[int, int, int]]:
    """Channels of the stem and of the stages."""
    if groups not in _STAGE_CHANNELS or width_mult not in _STEM_CHANNELS:
        raise UsageError(
            f"ShuffleNetV1 has no {groups} groups at width {width_mult:g}; groups are "
            f"{_listing(_STAGE_CHANNELS)}, widths are {_listing(_STEM_CHANNELS)}"
        )
    # Megvii's stem for 8 groups at half width: with 12 channels the branch of stage 2 would not divide by 8.
    stem = 16 if (groups, width_mult) == (8, 0.5) else _STEM_CHANNELS[width_mult]
    widths = [channels * width_mult for channels in _STAGE_CHANNELS[groups]]
    if options.stage4 is not None:
        widths[-1] = options.stage4
    for stage, (before, after) in enumerate(pairwise([stem, *widths]), start=2):
        branch = after - before
        first = (branch if options.middle == "branch" else after) // 4
        for channels, where in ((after // 4, "middle"), (first, "first middle"), (branch, "first unit's branch")):
            _check_divides(channels, groups, width_mult, f"the {where} of stage {stage}")
    stage2, stage3, stage4 = (int(width) for width in widths)
    return stem, (stage2, stage3, stage4)


def _check_divides(channels: float, groups: int, width_mult: float, where: str) -> None:
    if channels % groups or channels < 1:
        raise UsageError(
            f"ShuffleNetV1 with {groups} groups does not exist at width {width_mult:g}: {where} would "
            f"have {channels:g} channels, which {groups} groups cannot share; choose another width, or 1 or 3 groups"
        )


def _listing(values: dict[int, tuple[int, int, int]] | dict[float, int]) -> str:
    return ", ".join(f"{value:g}" for value in values)
