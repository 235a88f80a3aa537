"""A run that is taken up with another length or another target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from featherlight.console import duration, note
from featherlight.errors import UsageError
from featherlight.training.checkpoint import Progress, read_progress
from featherlight.training.extension import has_reached
from featherlight.training.recipe import Recipe, read_duration, read_field


def extend(run: Path, recipe: Recipe, epochs: int | None, time: str | None, target: float | None) -> Recipe:
    """The recipe with a new length or target, counted from the start of the run.

    Args:
        run: the run directory.
        recipe: as the run has it.
        epochs: in all, those done included.
        time: in all, what has passed included: ``90s``, ``15m``, ``2h``.
        target: accuracy on validation; 0: none.

    Raises:
        UsageError: nothing would be left to do.
        ModelFileError: the run's checkpoint is damaged.
    """
    if epochs is None and time is None and target is None:
        if read_progress(run).finished:
            note(f"{run} was finished; only its results are made anew. For longer: --epochs or --time, from its start")
        return recipe
    changes: dict[str, float] = {}
    if epochs is not None:
        changes |= {"epochs": read_field("epochs", epochs), "time_s": 0.0}
    if time is not None:
        changes |= {"time_s": read_duration(time)} | ({} if epochs is not None else {"epochs": 0})
    if target is not None:
        changes |= {"target": read_field("target", target)}
    if recipe.schedule_epochs < changes.get("epochs", 0) or changes.get("time_s"):  # a schedule is as long as its run
        changes |= {"schedule_epochs": 0}
    wanted = replace(recipe, **changes)  # type: ignore[arg-type]
    progress = read_progress(run)
    if wanted == recipe:
        return recipe
    _refuse_vain(run, recipe, wanted, progress)
    if progress.step == 0:
        return wanted
    note(f"{run}: {describe(recipe)} becomes {describe(wanted)}, after {_done(progress)}")
    before = f"until step {progress.step}: {describe(recipe)}"
    return replace(wanted, history=(*recipe.history, before))


def describe(recipe: Recipe) -> str:
    """``epochs 20, target 0.93``: what ends the run, as command-line options without dashes."""
    length = f"time {recipe.time_s:g}s" if recipe.time_s else f"epochs {recipe.epochs}"
    return f"{length}, target {recipe.target:g}" if recipe.target else length


def _done(progress: Progress) -> str:
    return f"{progress.epoch} epochs and {duration(progress.seconds)}"


def _refuse_vain(run: Path, recipe: Recipe, wanted: Recipe, progress: Progress) -> None:
    longer = (wanted.epochs, wanted.time_s) != (recipe.epochs, recipe.time_s)
    if wanted.epochs and longer and wanted.epochs <= progress.epoch:
        raise UsageError(
            f"{run} has done {progress.epoch} epochs; --epochs counts from its start, so give more than that"
        )
    if wanted.time_s and longer and wanted.time_s <= progress.seconds:
        passed = f"{duration(progress.seconds)} ({progress.seconds:.0f}s)"
        raise UsageError(f"{run} has trained for {passed}; --time counts from its start, so give more than that")
    if progress.finished and has_reached(progress.last_top1, wanted):
        raise UsageError(
            f"{run} has reached {progress.last_top1:.2%} on validation, so nothing is left to do for a target of "
            f"{wanted.target:g}; give a higher --target, or --target 0 for none"
        )
    if progress.finished and not longer and progress.stopped != "target":
        raise UsageError(f"{run} is finished; say for how long it is to go on: --epochs or --time, from its start")
