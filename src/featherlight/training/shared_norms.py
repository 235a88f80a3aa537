"""Batch norm over a batch that several processes share: the statistics of the whole batch, not of the share.

PyTorch's ``SyncBatchNorm`` does the same on GPUs alone; this one runs wherever the processes can talk, with one message
a layer forwards and one backwards. Moments travel in float64, so that a variance is not lost beside a large mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from featherlight.errors import UsageError
from featherlight.training.team import current_team


class _AddUp(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return current_team().add(values)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return current_team().add(gradients[0])


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Normalises images (N, C, H, W) with mean and variance over all processes' images."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (PyTorch's name)
        """See :class:`torch.nn.BatchNorm2d`."""
        if not self.training or current_team().is_alone:
            return super().forward(input)
        mean, variance, count = _moments(input.float())
        self._remember(mean.detach(), variance.detach() * count / max(1.0, count - 1))
        scale = torch.rsqrt(variance + self.eps)
        scale = scale * self.weight if self.affine else scale
        shift = self.bias if self.affine else torch.zeros_like(mean)
        # The mean goes first: folded into the shift it would cost digits where it is large.
        result = (input.float() - _by_channel(mean)) * _by_channel(scale) + _by_channel(shift)
        return result.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        part = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance, part)


def _moments(images: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean and biased variance of each channel over all processes, float32, and how many numbers each is of."""
    count = images.numel() // images.shape[1]
    wide = torch.float32 if images.device.type == "mps" else torch.float64
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    variance, mean = variance.to(wide), mean.to(wide)
    counts = torch.full_like(mean[:1], count)
    total = _AddUp.apply(torch.cat([mean * count, (variance + mean.square()) * count, counts]))
    sums, squares, counts = total.split([len(mean), len(mean), 1])
    mean = sums / counts
    variance = (squares / counts - mean.square()).clamp(min=0)
    return mean.float(), variance.float(), counts.item()


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def share_norms(model: nn.Module) -> None:
    """From now on, norms see the batches of all processes. Parameters, names and state stay what they are.

    Raises:
        UsageError: the network has batch norms of another kind.
    """
    for name, module in model.named_modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # in place: optimisers, graphs and checkpoints notice nothing
        elif isinstance(module, _BatchNorm) and not isinstance(module, SharedBatchNorm2d):
            raise UsageError(
                f"sync_norms knows BatchNorm2d; layer {name} is a {type(module).__name__}. Leave sync_norms out"
            )


def unshare_norms(model: nn.Module) -> None:
    """Undoes :func:`share_norms`."""
    for module in model.modules():
        if type(module) is SharedBatchNorm2d:
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
