"""What the families share: convolution with norm, paddings, channel shuffle, stem, output, first weights."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from featherlight.models.options import ConvStyle, Output, Padding, PoolPadding, Shuffle

Stem = Literal["imagenet", "cifar"]
_PLAIN = ConvStyle()


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
    style: ConvStyle = _PLAIN,
    norm: bool = True,
) -> list[nn.Module]:
    """Layers of a convolution without bias, batch normalisation and, unless None, an activation.

    Padding keeps the size at stride 1. A list, so that a caller can join several into one flat Sequential.
    ``norm=False`` leaves norm and activation out; then the convolution has a bias.
    """
    is_same = style.padding == "same" and (kernel_size, stride) == (3, 2)
    make, padding = (SameConv2d, 0) if is_same else (nn.Conv2d, kernel_size // 2)
    bias = style.bias or not norm
    convolution = make(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
    if not norm:
        return [convolution]
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_channels, eps=style.norm_eps)]
    return layers if activation is None else [*layers, activation(inplace=True)]


class SameConv2d(nn.Conv2d):
    """3x3 convolution with stride 2, padded as TensorFlow and MindSpore do for ``padding="same"``.

    Odd sizes get a row of zeros on either side, even ones only at the end, so the output has ceil(size / 2) rows.
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, C_in, H, W) -> (N, C_out, ceil(H/2), ceil(W/2))
        """Pads and convolves."""
        return super().forward(F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1)))


class SameMaxPool2d(nn.Module):
    """3x3 maximum pooling with stride 2 and ``same`` padding, which no maximum sees."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))
        """Pools."""
        return F.max_pool2d(x, 3, stride=2, padding=(x.shape[2] % 2, x.shape[3] % 2), ceil_mode=True)


def average_pool(x: Tensor, padding: Padding) -> Tensor:  # (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))
    """3x3 average pooling with stride 2, the shortcut of ShuffleNetV1.

    "symmetric" counts the zeros around the image, "same" does not, and has none above and left of even sizes.
    """
    if padding == "symmetric":
        return F.avg_pool2d(x, 3, stride=2, padding=1)
    sides = (x.shape[2] % 2, x.shape[3] % 2)
    return F.avg_pool2d(x, 3, stride=2, padding=sides, ceil_mode=True, count_include_pad=False)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:  # (N, C, H, W) -> (N, C, H, W)
    """Channel shuffle of ShuffleNet: output ``k`` is input ``(k % groups) * (C // groups) + k // groups``.

    The same as reshaping the channels to (groups, C // groups), transposing and flattening.
    ``channel_shuffle(x, C // groups)`` undoes it. Source: Zhang et al. 2018, arXiv 1707.01083, Fig. 1.

    Raises:
        RuntimeError: C does not divide by ``groups``.
    """
    # One call of PyTorch's own: as fast as view-transpose-reshape in NCHW, 1.4-4 times faster in channels_last,
    # where it alone also keeps the layout for the convolution that follows.
    return x if groups == 1 else F.channel_shuffle(x, groups)


def shuffle_groups(shuffle: Shuffle, channels: int, groups: int) -> int:
    """What :func:`channel_shuffle` takes as groups to run the paper's shuffle of ``groups`` or its inverse."""
    return groups if shuffle == "paper" or groups == 1 else channels // groups


def stem_stride(stem: Stem) -> int:
    """Stride of the first convolution: 2 as published, 1 for small images."""
    return 1 if stem == "cifar" else 2


def stem_pool(stem: Stem, padding: PoolPadding = "symmetric") -> nn.Module:
    """The pooling behind the first convolution of the ShuffleNets: 3x3 maximum as published, none for small images."""
    if stem == "cifar":
        return nn.Identity()
    if padding == "same":
        return SameMaxPool2d()
    return nn.MaxPool2d(3, 2, padding=0, ceil_mode=True) if padding == "ceil" else nn.MaxPool2d(3, 2, padding=1)


def finish(logits: Tensor, output: Output) -> Tensor:  # (N, num_classes) -> (N, num_classes)
    """What a network returns: logits, or what some implementations make of them."""
    if output == "logits":
        return logits
    return logits.softmax(1) if output == "softmax" else logits.log_softmax(1)


def initialise_weights(network: nn.Module) -> None:
    """Sets the weights to train from: He normal (fan out) convolutions, N(0, 0.01) classifier, zero biases.

    Batch normalisations start at scale 1 and shift 0, as PyTorch makes them. Source: He et al. 2015, arXiv 1502.01852.
    """
    for module in network.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            continue  # built only to be filled from a file; PyTorch would load its compiler to draw nothing
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
