"""Where a run goes: a directory that no other run has."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.sources.base import Source
from featherlight.training.recipe import RECIPE_FILE_NAME

RUNS = Path("runs")


@contextlib.contextmanager
def new_run_directory(out: str | Path | None, data: str, model: str) -> Iterator[Path]:
    """Takes a directory for one run alone; when the run never begins, it is gone again.

    Args:
        out: the directory that the person named, else None.
        data: path or known name; part of a made-up name.
        model: network name or nothing; likewise.

    Raises:
        UsageError: ``out`` is not empty, or no directory can be made.
    """
    had_parent = RUNS.exists()
    path, is_ours = (_take_numbered(data, model), True) if out is None else _take_named(Path(out))
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # not empty: the run has begun
            if is_ours:
                path.rmdir()
            if out is None and not had_parent:
                RUNS.rmdir()


def refuse_taken(out: str | Path | None, option: str = "--out") -> None:
    """Says at once what reading all images first would only delay.

    Raises:
        UsageError: ``out`` exists and is not an empty directory.
    """
    if out is not None and os.path.lexists(out):
        path = Path(out)
        if not path.is_dir() or any(path.iterdir()):
            is_run = (path / RECIPE_FILE_NAME).is_file()
            go_on = f", or go on with: featherlight train --resume {path}" if is_run else ""
            raise UsageError(f"{path} exists and is not empty; choose another {option}{go_on}")


def _take_numbered(data: str, model: str) -> Path:
    """``runs/DATA-TIME``, or the first of ``-2``, ``-3``, ... that nobody has taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(data).name}-{model}" if model else Path(data).name).strip("-")
    name = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    for suffix in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        path = RUNS / f"{name}{suffix}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"cannot make {path}: {error.strerror}; choose another place with --out") from error
        return path
    raise AssertionError("numbers do not end")


def _take_named(path: Path) -> tuple[Path, bool]:
    """The directory that the person named, and whether it had to be made."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        refuse_taken(path)
        return path, False
    except OSError as error:
        raise UsageError(f"cannot make {path}: {error.strerror}; choose another --out") from error
    return path, True


def check_place(out: str | Path | None, source: Source) -> None:
    """A run among class folders would look like one more class the next time.

    Raises:
        UsageError: it would.
    """
    root, place = Path(source.name), Path(os.path.abspath(out or RUNS))
    first = Path(source.splits["train"].paths[0])
    is_flat = root.is_dir() and first.is_relative_to(root) and first.relative_to(root).parts[0] in source.classes
    if is_flat and place.is_relative_to(root):
        raise UsageError(
            f"the run directory {out or RUNS} would lie among the class folders of {root}; choose another --out"
        )
