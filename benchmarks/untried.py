"""Ideas that the recipe has no field for, so that screening.py can try them: each is one ``with`` block.

An idea that helps becomes a field; the others stay here, so that their figures can be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from unittest.mock import patch

import torch
from torch import Tensor, nn

from featherlight.training.optimiser import build_optimizer
from featherlight.training.recipe import Recipe

LOOKAHEAD_EVERY, LOOKAHEAD_STEP = 5, 0.5
MUON_RATE = 0.25  # of the recipe's: its updates have a norm of their own
MUON_FROM = 16  # rows and columns
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan 2024
Change = Callable[[torch.optim.Optimizer, nn.Module], None]


@contextmanager
def changed_optimizer(change: Change) -> Iterator[None]:
    """Training's optimisers are given to ``change`` first."""

    def build(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        optimizer = build_optimizer(model, recipe)
        change(optimizer, model)
        return optimizer

    with patch("featherlight.training.learner.build_optimizer", build):
        yield


def lookahead() -> AbstractContextManager[None]:
    """Slow weights follow the fast ones every few steps, and the fast ones go on from there (Zhang et al. 2019)."""

    def change(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        parameters: list[Tensor] = list(model.parameters())
        slow, steps = [p.detach().clone() for p in parameters], count(1)

        @torch.no_grad()
        def follow(*_: object) -> None:
            if next(steps) % LOOKAHEAD_EVERY == 0:
                torch._foreach_lerp_(slow, parameters, LOOKAHEAD_STEP)
                torch._foreach_copy_(parameters, slow)

        optimizer.register_step_post_hook(follow)

    return changed_optimizer(change)


def muon() -> AbstractContextManager[None]:
    """Weights of dense layers are moved by orthogonal matrices (Jordan 2024), the others by the recipe's SGD."""

    def change(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        dense = {id(p) for p in model.parameters() if p.ndim > 1 and min(p.shape[0], p[0].numel()) >= MUON_FROM}
        optimizer.register_step_pre_hook(lambda *_: _orthogonalise(optimizer, dense))

    return changed_optimizer(change)


@torch.no_grad()
def _orthogonalise(optimizer: torch.optim.Optimizer, dense: set[int]) -> None:
    """Moves the dense weights and leaves the optimiser nothing to do for them."""
    for group in optimizer.param_groups:
        for parameter in (p for p in group["params"] if id(p) in dense and p.grad is not None):
            state = optimizer.state[parameter]
            mean = state.setdefault("muon", torch.zeros_like(parameter))
            mean.mul_(0.95).add_(parameter.grad)
            update = _orthogonal((parameter.grad + 0.95 * mean).flatten(1)).view_as(parameter)
            rows, columns = parameter.shape[0], parameter[0].numel()
            rate = group["lr"] * MUON_RATE
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(update, alpha=rate * max(1.0, rows / columns) ** 0.5)
            parameter.grad = None


def _orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are about one, by five Newton-Schulz steps."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if is_tall else x


def first_weights(start: Callable[[nn.Conv2d], None]) -> Callable[[], AbstractContextManager[None]]:
    """All convolutions but the first begin as ``start`` leaves them."""

    @torch.no_grad()
    def change(_: torch.optim.Optimizer, model: nn.Module) -> None:
        for layer in [module for module in model.modules() if isinstance(module, nn.Conv2d)][1:]:
            start(layer)

    return lambda: changed_optimizer(change)


def _delta(layer: nn.Conv2d) -> None:
    """A depthwise convolution begins near "the same pixel": a deep plain network then passes its image on."""
    if layer.groups == layer.in_channels > 1:
        layer.weight.mul_(0.3 / layer.weight.std())
        layer.weight[..., layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] += 1


def _delta_orthogonal(layer: nn.Conv2d) -> None:
    """Likewise, and dense layers are orthogonal (Xiao et al. 2018)."""
    _delta(layer)
    if layer.groups == 1:
        nn.init.orthogonal_(layer.weight)


def _dirac(layer: nn.Conv2d) -> None:
    """Likewise, and square dense layers begin near "the same channel" (airbench)."""
    _delta(layer)
    if layer.groups == 1 and layer.in_channels == layer.out_channels:
        layer.weight.mul_(layer.in_channels**-0.5 / layer.weight.std())
        layer.weight[:, :, 0, 0] += torch.eye(layer.in_channels)


TRIALS = {
    "lookahead": lookahead,
    "muon": muon,
    "delta": first_weights(_delta),
    "delta-orthogonal": first_weights(_delta_orthogonal),
    "dirac": first_weights(_dirac),
}
