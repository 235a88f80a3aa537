"""The optimiser a recipe asks for, and the running mean of the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from featherlight.training.recipe import Recipe

Tensors = tuple[Tensor, ...] | list[Tensor]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW; weight decay on weights only, not on norms and biases."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    spared = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)


def build_average(model: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """An exponential moving average of weights and running statistics; None when the recipe wants none."""
    if recipe.ema_decay == 0:
        return None
    return AveragedModel(model, multi_avg_fn=_ema_update(recipe.ema_decay), use_buffers=True)


def _ema_update(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # PyTorch hands over one dtype at a time; counters are just copied
            torch._foreach_copy_(averages, values)
            return
        # The decay itself warms up: a young average would otherwise remember the random start.
        torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return update
