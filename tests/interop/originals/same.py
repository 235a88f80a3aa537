"""``padding="same"`` as TensorFlow and MindSpore define it, straight from the definition."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pads so that the output has ceil(size / stride) rows; the odd one goes to the end."""
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


def max_pool_same(x: Tensor) -> Tensor:
    return pad_same(x, 3, 2, -torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))


def avg_pool_same(x: Tensor) -> Tensor:
    """The padding is not in the divisor."""
    windows = pad_same(x, 3, 2).unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5))
    counts = pad_same(torch.ones_like(x), 3, 2).unfold(2, 3, 2).unfold(3, 3, 2).sum((4, 5))
    return windows / counts


def conv_same(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int) -> Tensor:
    return F.conv2d(pad_same(x, weight.shape[2], stride), weight, bias, stride, groups=groups)
