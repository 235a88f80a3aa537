"""Images -> batches -> training -> model file -> evaluation: the main job."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from featherlight.console import bar, duration, note
from featherlight.devices import select_device
from featherlight.engines import open_engine
from featherlight.errors import FeatherlightError, TrainingInterruptedError, UsageError
from featherlight.metrics import Evaluation, fit_rule, fit_temperature
from featherlight.model_file import MODEL_FILE_NAME
from featherlight.models.weights import save_model
from featherlight.report import write_curves
from featherlight.sources.base import Source, Unreadable
from featherlight.training.checkpoint import Origin
from featherlight.training.defaults import default_recipe
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import RECIPE_FILE_NAME, Recipe, read_duration, read_field, read_recipe
from featherlight.training.recipes.catalogue import find_recipe
from featherlight.training.team import Team, join_team
from featherlight.training.trainer import Row
from featherlight.training.validation import ValidationSet
from featherlight.workflows.evaluate import choose_split, evaluate_split, report_unreadable, write_evaluation
from featherlight.workflows.extend import extend
from featherlight.workflows.fit import Fitted, fit_recipe, preprocessing_of
from featherlight.workflows.known_images import open_to_train
from featherlight.workflows.leaks import refuse_leaks
from featherlight.workflows.observer import show_plan
from featherlight.workflows.quantize_aware import (
    float_network,
    quantization_facts,
)
from featherlight.workflows.report_facts import cost_of, latency_of
from featherlight.workflows.reproduce import facts_of, reproduce_command
from featherlight.workflows.run_directory import check_place
from featherlight.workflows.starting_weights import build_network, settle_pretrained
from featherlight.workflows.teacher import settle_teacher
from featherlight.workflows.together import begun_recipe, check_same_images, prepare_out, shared_run_directory

__all__ = ["Run", "facts_of", "reproduce_command", "resume", "train"]


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        path: the run directory.
        model_path: the model file in it.
        metrics: the last row of ``metrics.jsonl``, and of the evaluation ``split``, ``num_images``, ``top1``, ``top5``,
            ``loss``, ``macro_precision``, ``macro_recall``, ``macro_f1``; and ``stopped``, why training ended: ``end``
            of its length, ``target`` or ``patience``.
    """

    path: Path
    model_path: Path
    metrics: dict[str, Any]


_NO_RUN = Run(Path(), Path(), {})


def train(
    data: str | Path = "digits",
    model: str | None = None,
    *,
    recipe: str | None = None,
    time: str | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Trains a light network on images, evaluates it and writes a run directory.

    Args:
        data: folder of images or a known name (``digits``, ``cifar10``, ``cifar100``).
        model: network name.
        recipe: a published recipe, or our default; ``featherlight train --list-recipes`` lists them.
        time: train for this long instead of a number of epochs: ``90s``, ``15m``, ``2h``.
        out: the run directory; by default a new one under ``runs/``.
        settings: any field of the recipe; see :class:`featherlight.training.recipe.Recipe`.

    Raises:
        UsageError: an unknown field, an unfit value, or ``out`` is not empty.
        DataError: no usable images.
        DownloadError: pretrained weights were asked for by name and cannot be fetched.
        TrainingStoppedError: interrupted or diverged; what was reached is saved.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    if model is not None:
        settings["model"] = model
    if recipe is not None:
        settings["recipe"] = recipe
    if time is not None:
        settings["time_s"] = read_duration(time)
    if "history" in settings:
        raise UsageError("history is written when a run is extended; it cannot be set")
    if isinstance(settings.get("pretrained"), bool):  # as create_model takes it
        settings["pretrained"] = "auto" if settings["pretrained"] else "none"
    if "recipe" in settings:  # a wrong name fails before images are looked at
        find_recipe(settings["recipe"])
    with join_team(lambda: select_device(str(settings.get("device", "auto")))) as team:
        return _train(team, data, out, settings)


def _train(team: Team, data: str | Path, out: str | Path | None, settings: dict[str, Any]) -> Run:
    prepare_out(out, team)
    strict, allow_leaks = (read_field(name, settings.get(name, False)) for name in ("strict", "allow_leaks"))
    with team.one_first():
        part, fold = read_field("hold_out", settings.get("hold_out", 0.0)), read_field("fold", settings.get("fold", ""))
        source = open_to_train(data, settings.get("group_by"), part, fold, strict=strict)
    check_same_images(source, team)
    check_place(out, source)
    refuse_leaks(source, allow=allow_leaks)
    chosen = default_recipe(facts_of(source), settings)
    preprocessing_of(chosen)  # what does not fit fails before anything is written
    build_network(chosen, len(source.classes), pretrained=False)
    select_device(chosen.device)
    begun = begun_recipe(out, settle_teacher(chosen), team)
    if begun is not None:
        return _run_recipe(Path(str(out)), begun, source, team)
    with team.one_first():  # weights are fetched once a machine
        settled = settle_teacher(settle_pretrained(chosen))
    chosen = team.share(settled)
    with shared_run_directory(team, out, str(data), str(settings.get("model", ""))) as run, _interrupt_explained(run):
        return _run_recipe(run, chosen, source, team)


def resume(run: str | Path, *, epochs: int | None = None, time: str | None = None, target: float | None = None) -> Run:
    """Goes on with a run that was interrupted, or with one that is to train for longer.

    Args:
        run: the run directory.
        epochs: new length in all, counted from the start of the run.
        time: new length in all, likewise.
        target: new accuracy on validation after which the run stops; 0: none.

    Raises:
        UsageError: no run directory, or nothing would be left to do.
        ModelFileError: its checkpoint is damaged or belongs to other images or another teacher.
        TrainingStoppedError: interrupted again, or diverged.
    """
    path = Path(run)
    device = read_recipe(path).device
    with join_team(lambda: select_device(device)) as team, _interrupt_explained(path):
        recipe = team.share(extend(path, read_recipe(path), epochs, time, target))
        with team.one_first():
            source = open_to_train(recipe.data, recipe.group_by, recipe.hold_out, recipe.fold, strict=recipe.strict)
        check_same_images(source, team)
        return _run_recipe(path, recipe, source, team)


def _run_recipe(run: Path, recipe: Recipe, source: Source, team: Team) -> Run:
    report_unreadable(source.unreadable, strict=recipe.strict)
    show_plan(run, recipe, source)
    with bar("training") as shown:
        fitted = fit_recipe(run, recipe, source, shown, team)
    return team.decide(lambda: _conclude(run, source, fitted), _NO_RUN)


def _conclude(run: Path, source: Source, fitted: Fitted) -> Run:
    """Model and evaluation, which one process makes."""
    note(f"trained in {duration(fitted.seconds)}")
    result, unreadable = _finish(run, fitted.recipe, source, fitted.network, fitted.validation, fitted.origin)
    _count_unreadable({*source.unreadable, *fitted.unreadable, *unreadable})
    return result


def _finish(
    run: Path, recipe: Recipe, source: Source, network: nn.Module, validation: ValidationSet, origin: Origin
) -> tuple[Run, list[Unreadable]]:
    """Writes the model and what it reaches; also returns the images that could not be read in doing so."""
    history = read_metrics(run)
    with _kept_explained(f"Training is finished and all is saved; make the model with: {_again(run)}"):
        provenance = _provenance(recipe, origin, _row_of_kept_weights(history, recipe))
        logits, labels = validation.logits(network)
        temperature = fit_temperature(logits, labels)
        if isinstance(network, fx.GraphModule):
            provenance["quantization"] = quantization_facts(network)
            network = float_network(recipe, network)
        path = save_model(
            network,
            run / MODEL_FILE_NAME,
            source.classes,
            preprocessing_of(recipe),
            temperature=temperature,
            provenance=provenance,
            reject=fit_rule(logits, recipe.reject_rate, temperature),
        )
    with _kept_explained(f"The model is trained and saved, {path}; only its evaluation is missing: {_again(run)}"):
        split = choose_split(source, None)
        engine = open_engine(path, "torch", recipe.device)
        evaluation, mistakes = evaluate_split(engine, source, split, recipe.model)
        write_curves(run / "curves.png", history)
        write_evaluation(
            run, evaluation, mistakes, history=history, recipe=recipe.to_dict(), lang=recipe.lang,
            reproduce=reproduce_command(recipe, source), cost=cost_of(engine, path), latency=latency_of(engine),
        )  # fmt: skip
    unreadable = [(file, reason) for file, reason in evaluation.unreadable]
    last = history[-1] if history else {}
    return Run(run, path, {"stopped": "end", **last, **_headline(evaluation)}), unreadable


def _again(run: Path) -> str:
    return f"featherlight train --resume {shlex.quote(str(run))}"


def _provenance(recipe: Recipe, origin: Origin, row: Row) -> dict[str, Any]:
    teacher = {"teacher": {"model": recipe.teacher, "fingerprint": origin.teacher}} if recipe.teacher else {}
    return {
        "data": recipe.data,
        "fingerprint": origin.data,
        "recipe": recipe.to_dict(),
        "metrics": row,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        **teacher,
    }


@contextlib.contextmanager
def _kept_explained(what: str) -> Iterator[None]:
    """Says with every error after training what is saved and how to get the rest."""
    try:
        yield
    except FeatherlightError as error:
        error.args = (f"{error}. {what}",)
        raise
    except OSError as error:
        raise FeatherlightError(f"{error.filename or 'run'}: {error.strerror or error}. {what}") from error


def _row_of_kept_weights(history: list[Row], recipe: Recipe) -> Row:
    if not history:  # somebody removed metrics.jsonl; the weights are still good
        return {}
    return max(history, key=lambda row: float(row["val_top1"])) if recipe.keep == "best" else history[-1]


def _count_unreadable(unreadable: set[Unreadable]) -> None:
    if unreadable:
        note(f"{len(unreadable)} of the images could not be read and took no part; they are named above")


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    names = (
        "split", "top1", "top1_interval", "top5", "loss", "macro_precision", "macro_recall", "macro_f1", "num_images",
    )  # fmt: skip
    return {name: getattr(evaluation, name) for name in names}


@contextlib.contextmanager
def _interrupt_explained(run: Path) -> Iterator[None]:
    """Ctrl-C before the first step or after the last; in between the trainer handles it."""
    try:
        yield
    except KeyboardInterrupt:
        begun = (run / RECIPE_FILE_NAME).exists()
        what = f"go on with: featherlight train --resume {run}" if begun else "training had not begun, nothing is saved"
        raise TrainingInterruptedError(f"interrupted; {what}") from None
