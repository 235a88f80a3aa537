"""Learning rate and momentum as functions of progress, so that a schedule runs over epochs and over minutes alike.

When epochs rule, each schedule has the rates of PyTorch's class, step for step:

==============  ================================================================================================
one-cycle       ``OneCycleLR``, cosine, two phases (Smith & Topin 2017); ``warmup`` is its ``pct_start``
cosine          ``CosineAnnealingLR`` to zero, after ``LinearLR`` over the warm-up
step            ``MultiStepLR`` at parts of the schedule, or ``StepLR`` every ``step_epochs``
exponential     ``ExponentialLR``: times ``gamma`` for each epoch
polynomial      ``PolynomialLR`` to zero
constant        the learning rate
==============  ================================================================================================

The last four rise before that as cosine does, where there is a ``warmup``; polynomial then falls over what is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from featherlight.training.recipe import Recipe

_EXACT = 1e-9  # of an epoch, far below one step: a quotient may lie a rounding error below a whole number


@dataclass(frozen=True)
class Place:
    """Where in its schedule a step is.

    Attributes:
        part: of the schedule that is done, in [0, 1].
        epoch: epochs done, with the begun one's part.
        grain: what one step, or one epoch if the rate changes with epochs, is of the schedule. PyTorch's one-cycle has
            its peak and its end that much earlier. 0: unknown, a time rules.
    """

    part: float
    epoch: float = 0.0
    grain: float = 0.0


START = Place(0.0)


def find_place(recipe: Recipe, part_done: float, step: int, batches: int) -> Place:
    """Where in the schedule a step is.

    Args:
        recipe: says whether the rate changes with steps or with epochs, and how long the schedule is.
        part_done: of the run.
        step: optimiser steps done.
        batches: steps in an epoch.
    """
    if recipe.time_s > 0:
        return Place(part_done, step / batches)
    epoch, steps = part_done * recipe.epochs, batches
    if recipe.rate_per == "epoch":
        epoch, steps = math.floor(epoch + _EXACT), 1
        part_done = epoch / recipe.epochs
    length = recipe.schedule_epochs or recipe.epochs
    return Place(part_done * recipe.epochs / length, epoch, 1 / (length * steps))


def rate_factor(recipe: Recipe, place: Place) -> float:
    """The learning rate at a place, as a part of ``recipe.learning_rate``."""
    part = min(max(place.part, 0.0), 1.0)
    if recipe.schedule == "one-cycle":
        start = 1 / recipe.div_factor
        return _one_cycle(recipe, part, place.grain, (start, 1.0, start / recipe.final_div_factor))
    if part < recipe.warmup:
        return recipe.warmup_start + (1 - recipe.warmup_start) * part / recipe.warmup
    return _after_warmup(recipe, part, place.epoch)


def momentum_at(recipe: Recipe, place: Place) -> float:
    """The momentum at a place; without a cycle always the recipe's."""
    if not recipe.cycle_momentum:
        return recipe.momentum
    part = min(max(place.part, 0.0), 1.0)
    return _one_cycle(recipe, part, place.grain, (recipe.max_momentum, recipe.base_momentum, recipe.max_momentum))


def _after_warmup(recipe: Recipe, part: float, epoch: float) -> float:
    if recipe.schedule == "step":
        if recipe.step_epochs:
            return math.pow(recipe.gamma, math.floor((epoch + _EXACT) / recipe.step_epochs))
        return math.pow(recipe.gamma, sum(part >= at for at in recipe.step_at))
    if recipe.schedule == "exponential":
        return math.pow(recipe.gamma, epoch)
    left = (1 - part) / max(1e-9, 1 - recipe.warmup)
    if recipe.schedule == "polynomial":
        return math.pow(left, recipe.power)
    return 0.5 * (1 + math.cos(math.pi * (1 - left))) if recipe.schedule == "cosine" else 1.0


def _one_cycle(recipe: Recipe, part: float, grain: float, values: tuple[float, float, float]) -> float:
    """Cosine from the first value to the second, which is reached at the peak, and on to the third."""
    start, peak, end = values
    peak_at, end_at = recipe.warmup - grain, 1 - grain
    if part < peak_at:
        return _cosine_between(start, peak, part / peak_at)
    return _cosine_between(peak, end, min(1.0, (part - peak_at) / max(1e-9, end_at - peak_at)))


def _cosine_between(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))
