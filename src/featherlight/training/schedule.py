"""Learning rate as a function of progress, so that a schedule runs over epochs and over minutes alike."""

from __future__ import annotations

import math

from featherlight.training.recipe import Recipe

ONE_CYCLE_START = 1 / 25  # of the highest rate, as in Smith & Topin 2017 and PyTorch's OneCycleLR
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def rate_factor(recipe: Recipe, progress: float) -> float:
    """The learning rate at ``progress`` in [0, 1], as a part of ``recipe.learning_rate``."""
    progress = min(max(progress, 0.0), 1.0)
    if recipe.schedule == "one-cycle":
        return _one_cycle(progress, recipe.warmup)
    rising = min(1.0, progress / recipe.warmup) if recipe.warmup > 0 else 1.0
    if recipe.schedule == "step":
        return rising * 0.1 ** sum(progress >= part for part in recipe.step_at)
    after = max(0.0, progress - recipe.warmup) / max(1e-9, 1 - recipe.warmup)
    return rising * 0.5 * (1 + math.cos(math.pi * after))


def _one_cycle(progress: float, warmup: float) -> float:
    if progress < warmup:
        return _cosine_between(ONE_CYCLE_START, 1.0, progress / warmup)
    return _cosine_between(1.0, ONE_CYCLE_END, (progress - warmup) / max(1e-9, 1 - warmup))


def _cosine_between(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))
