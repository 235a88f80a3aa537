"""A folder of runs -> a table of them, also of those that are unfinished or damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.metrics import Evaluation
from featherlight.model_file import MODEL_FILE_NAME, read_card
from featherlight.training.checkpoint import CHECKPOINT_FILE
from featherlight.training.metrics_log import METRICS_FILE_NAME, read_metrics
from featherlight.training.recipe import RECIPE_FILE_NAME, Recipe, read_recipe
from featherlight.workflows.evaluate import EVALUATION_FILE_NAME
from featherlight.workflows.run_directory import RUNS

Status = Literal["finished", "unfinished", "damaged"]
SORTS = ("date", "accuracy", "size", "time")
_MARKS = (RECIPE_FILE_NAME, METRICS_FILE_NAME, str(CHECKPOINT_FILE))  # a directory with one of these is a run's


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        path: of its directory.
        status: ``finished``: model and evaluation are there; ``unfinished``; ``damaged``: a file of it is missing or
            cannot be read.
        network: registered name; empty where the recipe cannot be read.
        data: what it was trained on, likewise.
        accuracy: a fraction; of an unfinished run the last on validation; None: not known.
        split: on which the accuracy was measured.
        size_bytes: of the model file; None: there is none.
        time_s: seconds of training, across resumes.
        epochs: finished.
        input_size: side of the image, pixels; 0: not known.
        date: when it was last written to, UTC.
        problem: what is missing or damaged, and what to do.
    """

    path: str
    status: Status
    network: str = ""
    data: str = ""
    accuracy: float | None = None
    split: str = ""
    size_bytes: int | None = None
    time_s: float | None = None
    epochs: int = 0
    input_size: int = 0
    date: str = ""
    problem: str = ""

    def to_row(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        return asdict(self)


def list_runs(folder: str | Path | None = None, *, sort: str = "date") -> list[RunRow]:
    """Lists the training runs in a folder and all folders below it.

    Args:
        folder: by default ``runs``.
        sort: ``date``: the latest first; ``accuracy``: the highest first; ``size`` or ``time``: the least first. What
            is not known comes last.

    Raises:
        UsageError: no such folder, or an unknown ``sort``.
    """
    if sort not in SORTS:
        raise UsageError(f"runs cannot be sorted by {sort!r}; there are: {', '.join(SORTS)}")
    root = Path(RUNS if folder is None else folder)
    if not os.path.isdir(root):
        advice = "; a first run makes it: featherlight train" if folder is None else ""
        raise UsageError(f"{root}: no such folder{advice}")
    return _sorted([_read(path) for path in find_runs(root)], sort)


def find_runs(root: Path) -> Iterator[Path]:
    """Run directories at ``root`` and below, by name; what lies within one is part of it."""
    for folder, folders, _ in os.walk(root):
        path = Path(folder)
        if any((path / mark).is_file() for mark in _MARKS):
            folders.clear()
            yield path
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _sorted(rows: Sequence[RunRow], sort: str) -> list[RunRow]:
    if sort == "date":
        return sorted(rows, key=lambda row: row.date, reverse=True)
    name, sign = {"accuracy": ("accuracy", -1), "size": ("size_bytes", 1), "time": ("time_s", 1)}[sort]
    known = [row for row in rows if getattr(row, name) is not None]
    return sorted(known, key=lambda row: sign * getattr(row, name)) + [row for row in rows if row not in known]


def _read(path: Path) -> RunRow:
    row = RunRow(str(path), "damaged", date=_last_written(path))
    try:
        recipe = read_recipe(path)
        row = replace(row, network=recipe.model, data=recipe.data, input_size=recipe.input_size)
        with _reading(path / METRICS_FILE_NAME):
            history = read_metrics(path)
            row = _with_progress(row, history)
        return _finish(path, row, recipe, history)
    except FeatherlightError as error:
        return replace(row, problem=str(error))


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Whatever is wrong with what stands in a file becomes an error that names it."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ModelFileError(f"{file}: damaged ({type(error).__name__}: {error})") from error


def _with_progress(row: RunRow, history: Sequence[dict[str, Any]]) -> RunRow:
    """The row with what validation last said."""
    if not history:
        return row
    last = history[-1]
    accuracy, seconds, epochs = float(last["val_top1"]), float(last["seconds"]), int(last["epoch"])
    return replace(row, accuracy=accuracy, split="val", time_s=seconds, epochs=epochs)


def _finish(path: Path, row: RunRow, recipe: Recipe, history: Sequence[dict[str, Any]]) -> RunRow:
    """The row with what the finished model reaches, where it is finished."""
    again = f"go on with: featherlight train --resume {path}"
    model, evaluation = path / MODEL_FILE_NAME, path / EVALUATION_FILE_NAME
    if model.is_file():
        read_card(model)
        _check_whole(model)
        row = replace(row, size_bytes=model.stat().st_size)
    if not model.is_file() or _goes_on(recipe, history):
        of = f" of {recipe.epochs}" if recipe.epochs else ""
        return replace(row, status="unfinished", problem=f"after epoch {row.epochs}{of}; {again}")
    if not evaluation.is_file():
        return replace(row, status="unfinished", problem=f"its evaluation is missing; {again}")
    with _reading(evaluation):
        found = Evaluation.from_json(evaluation.read_text(encoding="utf-8"))
    return replace(row, status="finished", accuracy=found.top1, split=found.split)


def _goes_on(recipe: Recipe, history: Sequence[dict[str, Any]]) -> bool:
    """Whether a run that has a model is being trained for longer."""
    return bool(history) and recipe.epochs > history[-1]["epoch"] and "stopped" not in history[-1]


def _check_whole(model: Path) -> None:
    """Raises a ModelFileError where weights are missing at the end; they are not read."""
    try:
        with safe_open(model, "np"):
            return
    except SafetensorError as error:
        raise ModelFileError(f"{model}: damaged or cut off ({str(error)[:100]!a})") from error


def _last_written(path: Path) -> str:
    names = (*_MARKS, MODEL_FILE_NAME, EVALUATION_FILE_NAME)
    times = [(path / name).stat().st_mtime for name in names if (path / name).is_file()]
    return datetime.fromtimestamp(max(times), timezone.utc).isoformat(timespec="seconds")
