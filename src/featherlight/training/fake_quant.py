"""Networks that feel int8 while they are trained: weights and activations are rounded as the runtime will round them.

The grids and places are those of :mod:`featherlight.targets.quantize_onnx`: weights int8 per output channel and
symmetric, after the batch norm is folded into them with its running statistics; activations uint8 per tensor with a
zero point. Gradients go straight through the rounding; the width of each activation's range is learnt (LSQ, Esser et
al. 2020). Folding with frozen statistics follows Krishnamoorthi 2018.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

QMIN, QMAX = 0, 255  # activations
WEIGHT_MAX = 127


class ActivationRange(nn.Module):
    """Rounds a tensor to uint8 and back; until :meth:`settle` it only watches.

    The range is ``scale * (0 - zero_point)`` to ``scale * (255 - zero_point)`` with a whole zero point, so zero stays
    exactly zero. Training moves ``log_scale``.
    """

    low: Tensor
    high: Tensor
    zero_point: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros(()))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.watching = False

    def settle(self) -> None:
        """Ends watching: the range becomes what was seen."""
        low = self.low.item()
        width = max(self.high.item() - low, 1e-6)
        with torch.no_grad():
            self.log_scale.fill_(math.log(width / (QMAX - QMIN)))
            self.zero_point.fill_(round(-low / width * (QMAX - QMIN)))
        self.watching = False

    def ends(self) -> tuple[float, float]:
        """Lowest and highest value that int8 can hold here."""
        scale, zero = math.exp(self.log_scale.item()), round(self.zero_point.item())
        return scale * (QMIN - zero), scale * (QMAX - zero)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, on the grid."""
        if self.watching:
            self.low = torch.minimum(self.low, x.detach().min())
            self.high = torch.maximum(self.high, x.detach().max())
            return x
        result: Tensor = _Round.apply(x, self.log_scale.exp(), self.zero_point)
        return result


class _Round(torch.autograd.Function):
    """Rounding to the grid; gradients pass within the range, and the step learns from what is cut off or rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        rounded = torch.fake_quantize_per_tensor_affine(x, scale, zero_point.round().int(), QMIN, QMAX)
        ctx.save_for_backward(x, rounded, scale, zero_point)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,), (x, rounded, scale, zero_point) = gradients, ctx.saved_tensors
        below, above = x < scale * (QMIN - zero_point - 0.5), x > scale * (QMAX - zero_point + 0.5)
        inside = ~(below | above)
        step = torch.where(inside, (rounded - x) / scale, rounded / scale)
        gentle = 1 / math.sqrt(x.numel() * QMAX)  # as LSQ: the step then moves about as fast as weights do
        return gradient * inside, (gradient * step).sum() * gentle, None


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights (out, ...) on the int8 grid of each output channel; gradients pass straight through."""
    widest = weight.detach().abs().flatten(1).amax(1)
    scale = torch.where(widest > 0, widest / WEIGHT_MAX, torch.ones_like(widest))
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -WEIGHT_MAX, WEIGHT_MAX)


def folded_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    norm: tuple[Tensor, Tensor, Tensor | None, Tensor | None, float] | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    """A convolution with rounded weights, the norm behind it (mean, variance, weight, bias, eps) folded in."""
    if norm is not None:
        mean, variance, gain, shift, eps = norm
        factor = torch.rsqrt(variance + eps) * (1 if gain is None else gain)
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias = ((0 if bias is None else bias) - mean) * factor + (0 if shift is None else shift)
    return F.conv2d(x, rounded_weight(weight), bias, stride, padding, dilation, groups)


def rounded_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer with rounded weights."""
    return F.linear(x, rounded_weight(weight), bias)
