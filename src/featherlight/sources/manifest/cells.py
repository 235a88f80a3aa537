"""Cells become paths, labels, splits, weights and groups; what cannot be one is named with file and line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import DataError
from featherlight.sources.base import SplitName
from featherlight.sources.completing import SPLIT_WORDS
from featherlight.sources.manifest.columns import Roles
from featherlight.sources.manifest.table import Table

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Rows:
    """The rows of manifests, checked.

    Attributes:
        paths: as they are written.
        labels: the class of each.
        splits: of each; None: nobody said.
        weights: float32, positive; None: nobody said.
        groups: empty where a row belongs to none; None: nobody said.
    """

    paths: list[str]
    labels: list[str]
    splits: list[SplitName] | None = None
    weights: NDArray[np.float32] | None = None
    groups: list[str] | None = None


def read_rows(table: Table, roles: Roles) -> Rows:
    """Reads the cells of each role; of groups only where one column alone tells them.

    Raises:
        DataError: a cell that is missing or unfit; the message names the first such row and counts the others.
    """
    weights = _convert(table, roles.weight, _weight)
    return Rows(
        paths=_convert(table, roles.path, _path) or [],
        labels=_convert(table, roles.label, _label) or [],
        splits=_convert(table, roles.split, _split),
        weights=None if weights is None else np.array(weights, np.float32),
        groups=_convert(table, roles.groups[0] if len(roles.groups) == 1 else None, _group),
    )


def read_names(table: Table, column: str) -> list[str]:
    """The cells that name images, wherever these are.

    Raises:
        DataError: a cell is missing or no text.
    """
    return _convert(table, column, _name) or []


def join_rows(parts: Mapping[SplitName, Rows]) -> Rows:
    """The rows of several manifests, one a split; what only some of them say is usual in the others."""
    rows = parts.values()
    weighted = any(part.weights is not None for part in rows)
    grouped = any(part.groups is not None for part in rows)
    ones = [np.ones(len(part.paths), np.float32) if part.weights is None else part.weights for part in rows]
    return Rows(
        paths=[path for part in rows for path in part.paths],
        labels=[label for part in rows for label in part.labels],
        splits=[split for split, part in parts.items() for _ in part.paths],
        weights=np.concatenate(ones) if weighted else None,
        groups=[name for part in rows for name in part.groups or [""] * len(part.paths)] if grouped else None,
    )


def _convert(table: Table, column: str | None, read: Callable[[Any], _Value]) -> list[_Value] | None:
    if column is None:
        return None
    try:
        return [read(cell) for cell in table.columns[column]]
    except ValueError:
        _refuse(table, column, read)


def _refuse(table: Table, column: str, read: Callable[[Any], object]) -> NoReturn:
    problems = list(_problems(table.columns[column], read))
    row, problem = problems[0]
    others = f" (and so in {len(problems) - 1:,} more rows)" if len(problems) > 1 else ""
    raise DataError(f"{table.place(row)}: column '{column}': {problem}{others}")


def _problems(cells: Iterable[Any], read: Callable[[Any], object]) -> Iterator[tuple[int, str]]:
    for row, cell in enumerate(cells):
        try:
            read(cell)
        except ValueError as error:
            yield row, str(error)


def _name(cell: Any) -> str:
    if not isinstance(cell, str) or not cell.strip():
        raise ValueError(f"{_shown(cell)} is no path; name the image or remove the row")
    return cell


def _path(cell: Any) -> str:
    scheme, found, _ = _name(cell).partition("://")
    if found and scheme.lower() not in ("http", "https"):
        raise ValueError(f"{_shown(cell)}: images are read from files, and from http:// and https:// addresses")
    return str(cell)


def _label(cell: Any) -> str:
    text = cell.strip() if isinstance(cell, str) else _text(cell)
    if not text:
        raise ValueError("no label; give one or remove the row")
    return text


def _text(cell: Any) -> str:
    """Numbers as texts: 3 and 3.0 are one class."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer()):
        return str(int(cell))
    raise ValueError(f"{_shown(cell)} is neither a text nor a whole number")


def _split(cell: Any) -> SplitName:
    word = cell.strip().lower() if isinstance(cell, str) else cell
    try:
        return SPLIT_WORDS[word]
    except (KeyError, TypeError):
        raise ValueError(f"{_shown(cell)} is no split; write train, val or test in each row") from None


def _weight(cell: Any) -> float:
    try:
        weight = float(cell)
    except (ValueError, TypeError, OverflowError):
        weight = math.nan
    if not 1e-30 <= weight <= 1e30:  # float32 holds no more, and nothing sensible is beyond
        raise ValueError(f"{_shown(cell)} is no weight; write a positive number, 1 where nothing is special")
    return weight


def _group(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else _text(cell)


def _shown(cell: Any) -> str:
    return f"{cell!r:.60}"
