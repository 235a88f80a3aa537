"""The layers of a network in their order: for learning rates by depth, and for unfreezing stage by stage."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from featherlight.models.pretrained import classifier
from featherlight.training.recipe import Recipe


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """Number of the layer that each parameter belongs to, from 0 at the image to the classifier's.

    A layer is a block of the network (a shuffle unit, an inverted residual) or what stands alone. For timm's networks
    it is what timm counts as one (``param_groups_layer_decay``).

    Returns:
        A number for each name of ``model.named_parameters()``.
    """
    return _timm_numbers(model) if hasattr(model, "group_matcher") else _own_numbers(model)


def _own_numbers(model: nn.Module) -> dict[str, int]:
    numbers = {name: 0 for name, _ in model.named_parameters(recurse=False)}
    for number, (prefix, block) in enumerate(_blocks(model)):
        numbers |= {f"{prefix}.{name}": number for name, _ in block.named_parameters()}
    head, last = f"{classifier(model)}.", max(numbers.values())  # it may stand in one block with other layers
    last += any(number == last and not name.startswith(head) for name, number in numbers.items())
    return {name: last if name.startswith(head) else numbers[name] for name, _ in model.named_parameters()}


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        parts = {f"{name}.{part}": module for part, module in child.named_children() if list(module.parameters())}
        if isinstance(child, nn.Sequential) and parts and all(list(part.children()) for part in parts.values()):
            yield from parts.items()
        elif list(child.parameters()):
            yield name, child


def _timm_numbers(model: nn.Module) -> dict[str, int]:
    from timm.models import group_parameters

    found: dict[str, int] = group_parameters(model, model.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    order = {number: place for place, number in enumerate(sorted(set(found.values())))}
    return {name: order[found[name]] for name, _ in model.named_parameters()}


def freeze(model: nn.Module, recipe: Recipe, epoch: int) -> list[nn.Module]:
    """Freezes what the recipe keeps as it is in this epoch, and lets the rest learn.

    Args:
        model: the network.
        recipe: ``freeze_epochs`` and ``unfreeze``.
        epoch: from 0.

    Returns:
        The frozen modules; they are to stay in evaluation mode, so that their running statistics stay too.
    """
    if recipe.freeze_epochs == 0:
        return []
    stages = _stages(model)
    opened = 1 + epoch // recipe.freeze_epochs
    if recipe.unfreeze == "all" and opened > 1:
        opened = len(stages)
    frozen = {name for stage in stages[: max(0, len(stages) - opened)] for name in stage}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    owners = {name.rpartition(".")[0] for name in frozen} - {""}
    return [model.get_submodule(owner) for owner in sorted(owners)]


def _stages(model: nn.Module) -> list[list[str]]:
    """Names of parameters, stage by stage from the image on; the classifier is the last. A stride begins a stage."""
    numbers = layer_numbers(model)
    strided = {
        numbers[f"{name}.weight"]
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1
    }
    begins = sorted({0, *strided, max(numbers.values())})
    bounds = zip(begins, [*begins[1:], max(numbers.values()) + 1], strict=True)
    return [[name for name, number in numbers.items() if low <= number < high] for low, high in bounds]
