"""A recipe's speed fields, and the plan they make."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from featherlight.console import note
from featherlight.training.recipe import Recipe
from featherlight.training.speed.choose import RunLength, choose_plan, explain_choice
from featherlight.training.speed.memory import Memory
from featherlight.training.speed.plan import PLAIN, SpeedPlan, default_threads


def plan_of(recipe: Recipe) -> SpeedPlan:
    """The plan a recipe's fields make; what was not settled is as ``speed`` says, without measuring."""
    usual = PLAIN if recipe.speed == "plain" else SpeedPlan()
    return replace(usual, **{"threads": default_threads(), **_pinned(recipe)})


def settle_speed(recipe: Recipe, network: nn.Module, num_classes: int, batches: int, processes: int = 1) -> Recipe:
    """The recipe with its speed fields decided, by measuring where ``speed`` is ``auto``; says what and why.

    Args:
        recipe: of the run.
        network: as it will be trained, on its device.
        num_classes: K.
        batches: steps in an epoch.
        processes: that share each batch.
    """
    plan = plan_of(recipe)
    if recipe.speed == "auto" and not is_settled(recipe):
        size, share = recipe.train_size or recipe.input_size, math.ceil(recipe.batch_size / processes)
        subject = {
            "network": recipe.model, "stem": recipe.stem, "size": size, "channels": recipe.in_channels,
            "batch": share, "classes": num_classes, "device": str(next(network.parameters()).device),
        }  # fmt: skip
        shape = (share, recipe.in_channels, size, size)
        length = RunLength(recipe.epochs * batches, recipe.time_s)
        plan, trials = choose_plan(network, shape, num_classes, _pinned(recipe), length, Memory(subject))
        if len(trials) > 1:  # a short run compares nothing
            note(explain_choice(plan, trials, share))
    return replace(
        recipe,
        layout=plan.layout,
        precision=plan.precision,
        compile="on" if plan.compile else "off",
        kernels="on" if plan.kernels else "off",
        threads=plan.threads,
    )


def is_settled(recipe: Recipe) -> bool:
    """Whether nothing is left to choose."""
    return "auto" not in (recipe.layout, recipe.precision, recipe.compile, recipe.kernels) and recipe.threads > 0


def _pinned(recipe: Recipe) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if recipe.layout != "auto":
        fields["layout"] = recipe.layout
    if recipe.precision != "auto":
        fields["precision"] = recipe.precision
    if recipe.compile != "auto":
        fields["compile"] = recipe.compile == "on"
    if recipe.kernels != "auto":
        fields["kernels"] = recipe.kernels == "on"
    if recipe.threads > 0:
        fields["threads"] = recipe.threads
    return fields
