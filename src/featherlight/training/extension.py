"""A run that goes on beyond its planned length, or towards another target."""

from __future__ import annotations

from featherlight.training.checkpoint import Progress
from featherlight.training.recipe import Recipe

REWARMING = 0.05  # of the added part; Ibrahim et al. 2024 (arXiv 2403.08763) find that its length hardly matters


def is_extended(progress: Progress, recipe: Recipe) -> bool:
    """Whether the recipe has another length than the one by which training went so far."""
    planned = (progress.planned_epochs, progress.planned_time_s)
    if planned == (0, 0.0):  # written by an older version; its runs of epochs are finished when those are done
        return progress.finished and progress.epoch < recipe.epochs
    return progress.step > 0 and planned != (recipe.epochs, recipe.time_s)


def reopen(progress: Progress, recipe: Recipe, part_done: float) -> None:
    """Takes up a run whose length or target was changed; changes nothing where neither was.

    All follows from the checkpoint and the recipe, so that being killed here and taken up again comes to the same.

    Args:
        progress: as the checkpoint has it.
        recipe: as it is now.
        part_done: where the run stands by the recipe as it is now.
    """
    reached = has_reached(progress.last_top1, recipe)
    if is_extended(progress, recipe):
        progress.leg_start, progress.leg_factor = part_done, progress.factor
        progress.finished, progress.stopped, progress.stale = False, "", 0
    if progress.stopped == "target" and not reached:
        progress.finished, progress.stopped = False, ""
    elif reached and not progress.finished and progress.batch == 0:
        progress.finished, progress.stopped = True, "target"
    progress.planned_epochs, progress.planned_time_s = recipe.epochs, recipe.time_s


def has_reached(top1: float, recipe: Recipe) -> bool:
    """Whether an accuracy on validation is what the recipe aims for."""
    return recipe.target > 0 and top1 >= recipe.target


def rewarmed(factor: float, progress: Progress, part_done: float) -> float:
    """The learning rate's factor after an extension.

    The schedule is stretched over the whole length, as if the run had been planned so; from its present value the rate
    rises to that curve within the first twentieth of what was added.

    Args:
        factor: of the stretched schedule at ``part_done``.
        progress: where the extension began, and at which factor.
        part_done: of the whole run.
    """
    if progress.leg_start <= 0:
        return factor
    risen = (part_done - progress.leg_start) / max(1e-9, REWARMING * (1 - progress.leg_start))
    return factor if risen >= 1 else progress.leg_factor + (factor - progress.leg_factor) * max(0.0, risen)
