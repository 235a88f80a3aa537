"""k-fold cross-validation: k usual runs, each measured on the images that it was not trained on, and one report.

Each fold is a run directory of its own, so that everything that works on runs works on folds: going on, evaluating,
comparing, exporting.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.devices import select_device
from featherlight.engines import open_engine
from featherlight.errors import TrainingStoppedError, UsageError
from featherlight.files import write_text
from featherlight.metrics import Evaluation, evaluate_logits, fit_temperature
from featherlight.metrics.mistakes import list_mistakes
from featherlight.model_file import MODEL_FILE_NAME
from featherlight.report import Mistake
from featherlight.sources.base import Source, Split, Unreadable, join_splits, take
from featherlight.sources.cross_validation import read_fold
from featherlight.training.defaults import default_recipe
from featherlight.training.recipe import Recipe, read_duration, read_field, read_recipe, write_recipe
from featherlight.training.recipes.catalogue import find_recipe
from featherlight.workflows.evaluate import EVALUATION_FILE_NAME, write_evaluation
from featherlight.workflows.fit import preprocessing_of
from featherlight.workflows.known_images import open_to_train
from featherlight.workflows.measuring import Measured, read_mistakes, report_unreadable, run_split
from featherlight.workflows.reproduce import facts_of
from featherlight.workflows.run_directory import check_place, new_run_directory, refuse_taken
from featherlight.workflows.starting_weights import build_network, settle_pretrained
from featherlight.workflows.teacher import settle_teacher
from featherlight.workflows.train import resume

FOLDS_FILE_NAME = "folds.json"
OUT_OF_FOLD = "out-of-fold"


@dataclass(frozen=True)
class CrossValidation:
    """What k networks say of the images that each did not see.

    Attributes:
        path: the directory of all of it.
        runs: a run directory a fold.
        evaluation: of all images, each by the network that was not trained on it.
        top1: accuracy of each fold.
    """

    path: Path
    runs: tuple[Path, ...]
    evaluation: Evaluation
    top1: tuple[float, ...]


def cross_validate(
    data: str | Path = "digits",
    model: str | None = None,
    *,
    folds: int = 5,
    recipe: str | None = None,
    time: str | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> CrossValidation:
    """Trains a network for each fold and measures it there.

    Images are dealt class by class; copies, near copies and groups stay in one fold. A test split that came with the
    data takes no part.

    Args:
        data: see :func:`featherlight.train`.
        model: likewise.
        folds: how many, from 2 on.
        recipe: a published recipe.
        time: length of each fold's training.
        out: the directory; by default a new one under ``runs/``.
        settings: any field of the recipe.

    Raises:
        UsageError: an unknown field, an unfit value, or ``out`` is not empty.
        DataError: too few images.
        TrainingStoppedError: interrupted or diverged; what was reached is saved.
    """
    given = {"model": model, "recipe": recipe, "time_s": read_duration(time) if time else None, **settings}
    chosen = {name: value for name, value in given.items() if value is not None} | {"fold": f"1/{folds}"}
    read_fold(f"1/{folds}")
    if "recipe" in chosen:
        find_recipe(chosen["recipe"])
    if isinstance(chosen.get("pretrained"), bool):
        chosen["pretrained"] = "auto" if chosen["pretrained"] else "none"
    refuse_taken(out)
    _refuse_torchrun()
    strict, part = (
        read_field("strict", chosen.get("strict", False)),
        read_field("hold_out", chosen.get("hold_out", 0.0)),
    )
    source = open_to_train(data, chosen.get("group_by"), part, f"1/{folds}", strict=strict)
    check_place(out, source)
    first = default_recipe(facts_of(source), chosen)
    preprocessing_of(first)
    build_network(first, len(source.classes), pretrained=False)
    select_device(first.device)
    first = settle_teacher(settle_pretrained(first))
    with new_run_directory(out, str(data), first.model) as path:
        _prepare(path, first, folds)
        return finish_folds(path)


def _prepare(path: Path, first: Recipe, folds: int) -> None:
    """Writes each fold's recipe, and last the file that says that all are there."""
    names = [f"fold-{number}" for number in range(1, folds + 1)]
    for number, name in enumerate(names, 1):
        (path / name).mkdir()
        write_recipe(path / name, replace(first, fold=f"{number}/{folds}"))
    write_text(path / FOLDS_FILE_NAME, json.dumps({"folds": [{"run": name} for name in names]}, indent=2) + "\n")


def is_cross_validation(path: str | Path) -> bool:
    """Whether a directory was made by :func:`cross_validate`."""
    return (Path(path) / FOLDS_FILE_NAME).is_file()


def finish_folds(path: str | Path) -> CrossValidation:
    """Trains the folds that are not finished and measures all; also goes on with what was interrupted.

    Raises:
        UsageError: no directory of folds.
        TrainingStoppedError: interrupted or diverged; what was reached is saved.
    """
    _refuse_torchrun()
    path = Path(path)
    try:
        rows = json.loads((path / FOLDS_FILE_NAME).read_text(encoding="utf-8"))["folds"]
        runs = [path / str(row["run"]) for row in rows]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path / FOLDS_FILE_NAME}: cannot be read ({error})") from error
    recipe = read_recipe(runs[0])
    left = [run for run in runs if not _is_finished(run)]
    try:
        train_runs(left, devices_for(recipe.device))
    except TrainingStoppedError as error:
        raise type(error)(
            f"{error}. All folds go on with: featherlight train --resume {shlex.quote(str(path))}"
        ) from error
    return _measure(path, runs, recipe)


def _refuse_torchrun() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("folds are shared among devices by themselves: run them without torchrun")


def _is_finished(run: Path) -> bool:
    return (run / MODEL_FILE_NAME).is_file() and (run / EVALUATION_FILE_NAME).is_file()


def devices_for(name: str) -> list[str]:
    """Devices that folds are shared among: all of the chosen kind, or the one that was named by its number."""
    device = select_device(name)
    if device.type == "cpu" or ":" in name:
        return [name]
    return [f"{device.type}:{number}" for number in range(torch.accelerator.device_count())]


def train_runs(runs: Sequence[Path], devices: Sequence[str]) -> None:
    """Finishes runs: one after the other, or where there are several devices, one on each at a time.

    Raises:
        TrainingStoppedError: one of them stopped; the others are finished all the same.
    """
    if len(devices) == 1 or len(runs) < 2:
        for run in runs:
            note(f"{run.name}, fold {read_recipe(run).fold}")
            resume(run)
        return
    free: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        free.put(device)
    with ThreadPoolExecutor(len(devices)) as pool:
        codes = list(pool.map(lambda run: _train_beside(run, free), runs))
    failed = [run.name for run, code in zip(runs, codes, strict=True) if code]
    if failed:
        raise TrainingStoppedError(f"{', '.join(failed)} stopped; see training.log there")


def _train_beside(run: Path, free: SimpleQueue[str]) -> int:
    """Finishes a run in a process of its own, on a device that no other has."""
    device = free.get()
    try:
        write_recipe(run, replace(read_recipe(run), device=device))
        note(f"{run.name} on {device}; {run / 'training.log'} says how it goes")
        command = [sys.executable, "-m", "featherlight", "train", "--resume", str(run)]
        with (run / "training.log").open("ab") as log:
            return subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT).returncode
    finally:
        free.put(device)


@dataclass(frozen=True)
class _Fold:
    images: Split
    logits: NDArray[np.float32]
    unreadable: tuple[Unreadable, ...]


def _measure(path: Path, runs: Sequence[Path], recipe: Recipe) -> CrossValidation:
    found, sources = [], []
    for run in runs:
        fold, source = _measure_fold(run)
        found.append(fold)
        sources.append(source)
    labels = [fold.images.labels for fold in found]
    top1 = [float((fold.logits.argmax(1) == truth).mean()) for fold, truth in zip(found, labels, strict=True)]
    evaluation, mistakes = _evaluate(found, sources[0], recipe)
    command = _command(recipe, len(runs))
    write_evaluation(path, evaluation, mistakes, recipe=recipe.to_dict(), reproduce=command, lang=recipe.lang)
    _write_folds(path, runs, top1, [len(truth) for truth in labels], evaluation)
    return CrossValidation(path, tuple(runs), evaluation, tuple(top1))


def _measure_fold(run: Path) -> tuple[_Fold, Source]:
    recipe = read_recipe(run)
    source = open_to_train(recipe.data, recipe.group_by, recipe.hold_out, recipe.fold, strict=recipe.strict)
    images = source.splits["val"]
    engine = open_engine(run, "torch", recipe.device)
    logits, positions, unreadable = run_split(engine, images, f"measuring {run.name}")
    report_unreadable(unreadable, strict=recipe.strict)
    return _Fold(take(images, positions), logits, (*source.unreadable, *unreadable)), source


def _evaluate(found: Sequence[_Fold], source: Source, recipe: Recipe) -> tuple[Evaluation, list[Mistake]]:
    """One evaluation of all folds; each fold's temperature is fitted on the others."""
    labels = np.concatenate([fold.images.labels for fold in found])
    logits = np.concatenate(_calibrated(found))
    unreadable = tuple(dict.fromkeys(row for fold in found for row in fold.unreadable))
    evaluation = evaluate_logits(
        logits, labels, source.classes, model=recipe.model, data=source.name, split=OUT_OF_FOLD, engine="torch",
        unreadable=unreadable,
    )  # fmt: skip
    paths = [path for fold in found for path in fold.images.paths]
    rows, places = list_mistakes(logits, labels, paths, source.classes, 1.0)
    evaluation = replace(evaluation, mistakes=rows)
    shown = Measured(_joined(found), logits, labels, evaluation, places)
    return evaluation, read_mistakes(shown)


def _joined(found: Sequence[_Fold]) -> Split:
    splits = {str(number): fold.images for number, fold in enumerate(found)}
    return join_splits(Source("", (), splits, ""))  # type: ignore[arg-type]


def _calibrated(found: Sequence[_Fold]) -> list[NDArray[np.float32]]:
    result = []
    for fold in found:
        others = [other for other in found if other is not fold]
        logits = np.concatenate([other.logits for other in others])
        labels = np.concatenate([other.images.labels for other in others])
        result.append((fold.logits / fit_temperature(logits, labels)).astype(np.float32))
    return result


def _write_folds(
    path: Path, runs: Sequence[Path], top1: Sequence[float], counts: Sequence[int], evaluation: Evaluation
) -> None:
    rows = [
        {"run": run.name, "top1": accuracy, "num_images": count}
        for run, accuracy, count in zip(runs, top1, counts, strict=True)
    ]
    deviation = float(np.std(top1, ddof=1))
    summary = {
        "top1": evaluation.top1, "top1_interval": evaluation.top1_interval, "num_images": evaluation.num_images,
        "mean_top1": float(np.mean(top1)), "std_top1": deviation, "folds": rows,
    }  # fmt: skip
    write_text(path / FOLDS_FILE_NAME, json.dumps(summary, indent=2) + "\n")


def _command(recipe: Recipe, folds: int) -> str:
    length = f"--time {recipe.time_s:g}s" if recipe.time_s else f"--epochs {recipe.epochs}"
    return (
        f"featherlight train {shlex.quote(recipe.data)} --folds {folds} --model {recipe.model} {length} "
        f"--seed {recipe.seed}"
    )
