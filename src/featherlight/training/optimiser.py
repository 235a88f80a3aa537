"""The optimiser a recipe asks for, and the running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from featherlight.models.pretrained import classifier
from featherlight.training.layers import layer_numbers
from featherlight.training.recipe import Recipe
from featherlight.training.schedule import START, Place, momentum_at

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD, AdamW or RMSprop; weight decay on what the recipe says, by default not on norms and biases.

    On top of pretrained weights, the layers before the classifier learn more slowly; with ``layer_decay`` each layer
    more slowly than the one behind it; biases of norms ``bias_rate`` times as fast as the rest of their layer. Each
    group of parameters has its ``rate``, the part of the recipe's learning rate that it gets; the first group is the
    classifier's.
    """
    spared = _spared(model, recipe)
    groups = [
        _group(part, recipe, spared, decay, rate)
        for part, rate in _with_own_biases(model, recipe, _parts(model, recipe))
        for decay in (True, False)
    ]
    rate, momentum = recipe.learning_rate, momentum_at(recipe, START)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), eps=recipe.eps, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, alpha=recipe.rms_decay, eps=recipe.eps, momentum=momentum)
    nesterov = recipe.nesterov and momentum > 0
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=True)


def _parts(model: nn.Module, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters that learn at the same rate, and the part of the recipe's rate that is theirs."""
    if recipe.layer_decay < 1:
        numbers, parameters = layer_numbers(model), dict(model.named_parameters())
        last = max(numbers.values())
        layers = [[parameters[name] for name, n in numbers.items() if n == number] for number in range(last, -1, -1)]
        return [(layer, recipe.layer_decay**depth) for depth, layer in enumerate(layers)]
    if recipe.pretrained == "none":
        return [(list(model.parameters()), 1.0)]
    head = list(model.get_submodule(classifier(model)).parameters())
    body = [p for p in model.parameters() if all(p is not other for other in head)]
    return [(head, 1.0), (body, recipe.body_rate)]


def _with_own_biases(
    model: nn.Module, recipe: Recipe, parts: list[tuple[list[nn.Parameter], float]]
) -> list[tuple[list[nn.Parameter], float]]:
    """Biases of norms apart, where they have a rate of their own."""
    if recipe.bias_rate == 1:
        return parts
    biases = {id(module.bias) for module in model.modules() if isinstance(module, NORMS)}
    others = [([p for p in part if id(p) not in biases], rate) for part, rate in parts]
    return others + [([p for p in part if id(p) in biases], rate * recipe.bias_rate) for part, rate in parts]


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets every group's learning rate, each in its part."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


def set_momentum(optimizer: torch.optim.Optimizer, recipe: Recipe, place: Place) -> None:
    """Sets the momentum that the recipe's cycle has at this place of its schedule."""
    for group in optimizer.param_groups if recipe.cycle_momentum else ():
        if "betas" in group:
            group["betas"] = (momentum_at(recipe, place), group["betas"][1])
        else:
            group["momentum"] = momentum_at(recipe, place)


def give_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Zero momentum for parameters that begin to learn: fused SGD takes a group in which all have some, or none."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] > 0 and parameter.requires_grad and not optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _spared(model: nn.Module, recipe: Recipe) -> set[int]:
    """Which parameters are not decayed, as ``id``."""
    if recipe.weight_decay_on == "all":
        return set()
    if recipe.weight_decay_on == "weights":
        return {id(p) for p in model.parameters() if p.ndim < 2}
    norms = (module for module in model.modules() if isinstance(module, NORMS))
    return {id(p) for module in norms for p in module.parameters(recurse=False)}


def _group(
    parameters: Iterable[nn.Parameter], recipe: Recipe, spared: set[int], decay: bool, rate: float
) -> dict[str, Any]:
    chosen = [p for p in parameters if (id(p) not in spared) == decay]
    return {"params": chosen, "weight_decay": recipe.weight_decay if decay else 0.0, "rate": rate}


class RunningMean(AveragedModel):
    """An exponential moving average of weights and running statistics, several times faster to update than its base.

    Args:
        model: the network that learns. Its tensors are looked up once: they must stay the same objects.
        decay: of the mean.
        ramp: the decay itself warms up; a young mean would otherwise remember the random start.
    """

    def __init__(self, model: nn.Module, decay: float, *, ramp: bool) -> None:
        super().__init__(model, use_buffers=True)
        self._decay, self._ramp = decay, ramp
        own, learning = _tensors(self.module), _tensors(model)
        self._pairs = tuple(zip(own, learning, strict=True))

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:  # noqa: ARG002 (the base's signature)
        """Takes the weights as they are now into the mean."""
        count = int(self.n_averaged)
        kept = min(self._decay, (1 + count) / (10 + count)) if self._ramp else self._decay
        (numbers, learning), counters = self._pairs
        if count == 0:
            torch._foreach_copy_(numbers, learning)
        else:
            torch._foreach_lerp_(numbers, learning, 1 - kept)
        if counters[0]:  # PyTorch takes no empty lists
            torch._foreach_copy_(*counters)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and statistics, and what only counts."""
    tensors = [*model.parameters(), *model.buffers()]
    numbers = [tensor for tensor in tensors if tensor.is_floating_point()]
    return numbers, [tensor for tensor in tensors if not tensor.is_floating_point()]


def build_average(model: nn.Module, recipe: Recipe) -> RunningMean | None:
    """The running mean that the recipe asks for, if it does."""
    return RunningMean(model, recipe.ema_decay, ramp=recipe.ema_start == "ramp") if recipe.ema_decay else None


def update_average(average: AveragedModel, model: nn.Module, recipe: Recipe, step: int, place: Place) -> None:
    """Takes the weights after ``step`` (from 0) into the mean, if it is its turn."""
    if step % recipe.ema_every == 0:
        average.update_parameters(model)
        if recipe.ema_start == "copy" and place.part < recipe.warmup:
            average.n_averaged.zero_()  # the next update copies again
