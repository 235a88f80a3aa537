"""The confusion matrix as the page shows it: a table while numbers can be read, else a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics import Evaluation
from featherlight.metrics.logits import Floats, Ints
from featherlight.report.ordering import order_alike

MAX_TABLE_CLASSES = 30  # above, cells are too small for numbers
MAX_DRAWN_CLASSES = 1000
MAX_CELLS = 60_000  # that are not zero; of more, the largest are drawn
MAX_PAIRS = 20
_NAME = 60  # letters of a class


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix for the page.

    Attributes:
        classes: (place in the model, name) of those shown; rows and columns.
        rows: of a table; empty for a drawing.
        data: for the script: names, images a class, what is not zero, and the order in which blocks show.
        size: of the table's cells.
        upright: column names are so short that they stand upright.
        hidden: mistakes that are not in the drawing.
    """

    classes: list[tuple[int, str]]
    rows: list[_Row]
    data: dict[str, Any]
    size: str
    upright: bool
    hidden: int


@dataclass(frozen=True)
class _Row:
    name: str
    support: int
    cells: list[_Cell]


@dataclass(frozen=True)
class _Cell:
    count: int
    share: float  # of its row
    strength: float  # of its colour
    kind: str  # y: right, n: wrong


def make_matrix(evaluation: Evaluation) -> Matrix:
    """Takes all classes, or the 1,000 in most confusions when there are more."""
    shown = _shown_classes(evaluation)
    counts = _counts_among(evaluation, shown)
    names = [evaluation.classes[i] for i in shown]
    support = [int(evaluation.per_class[name]["support"]) for name in names]
    is_table = len(shown) <= MAX_TABLE_CLASSES
    kept = counts if is_table else _largest(counts)
    data: dict[str, Any] = {"order": order_alike(counts)}
    if not is_table:
        data |= {"names": [_cut(name) for name in names], "support": support, "cells": _sparse(kept)}
    return Matrix(
        classes=list(zip(shown, names, strict=True)),
        rows=_rows(names, support, counts) if is_table else [],
        data=data,
        size="roomy" if len(shown) <= 12 else "middle",
        upright=max(map(len, names)) <= 3,
        hidden=_num_wrong(evaluation) - int(kept.sum() - kept.trace()),
    )


def confused_pairs(evaluation: Evaluation) -> list[tuple[int, int, int, float]]:
    """(true class, predicted class, count, fraction of the true class), most frequent first."""
    true, predicted, count = (column[_is_wrong(evaluation)] for column in evaluation.confusions())
    most = np.argsort(-count, kind="stable")[:MAX_PAIRS]
    support = [evaluation.per_class[evaluation.classes[k]]["support"] for k in true[most]]
    columns = (true[most].tolist(), predicted[most].tolist(), count[most].tolist(), support)
    return [(t, p, n, n / of) for t, p, n, of in zip(*columns, strict=True)]


def _is_wrong(evaluation: Evaluation) -> NDArray[np.bool_]:
    true, predicted, _ = evaluation.confusions()
    return np.asarray(true != predicted)


def _num_wrong(evaluation: Evaluation) -> int:
    return int(evaluation.confusions()[2][_is_wrong(evaluation)].sum())


def _shown_classes(evaluation: Evaluation) -> list[int]:
    true, predicted, count = (column[_is_wrong(evaluation)] for column in evaluation.confusions())
    confusions = np.zeros(len(evaluation.classes), np.int64)
    for side in (true, predicted):
        np.add.at(confusions, side, count)
    return sorted(np.argsort(-confusions, kind="stable")[:MAX_DRAWN_CLASSES].tolist())


def _counts_among(evaluation: Evaluation, shown: Sequence[int]) -> Ints:
    """The confusion matrix of some classes alone, (S, S)."""
    true, predicted, count = evaluation.confusions()
    inside = np.isin(true, shown) & np.isin(predicted, shown)
    counts = np.zeros((len(shown), len(shown)), np.int64)
    counts[np.searchsorted(shown, true[inside]), np.searchsorted(shown, predicted[inside])] = count[inside]
    return counts


def _largest(counts: Ints) -> Ints:
    """The matrix with its largest cells alone, and its diagonal."""
    if np.count_nonzero(counts) <= MAX_CELLS:
        return counts
    kept = np.eye(len(counts), dtype=bool)
    kept.flat[np.argsort(-counts, axis=None, kind="stable")[:MAX_CELLS]] = True
    return np.where(kept, counts, 0)


def _sparse(counts: Ints) -> list[list[int]]:
    """Of each row the columns and counts that are not zero: ``[column, count, column, count, ...]``."""
    rows = ((np.flatnonzero(row), row) for row in counts)
    return [np.stack([places, row[places]], axis=1).ravel().tolist() for places, row in rows]


def _rows(names: Sequence[str], support: Sequence[int], counts: Ints) -> list[_Row]:
    part = counts / max(1, counts.max())
    strength = np.where(np.eye(len(names), dtype=bool), part, np.sqrt(part))  # the root keeps rare errors visible
    return [_Row(name, support[k], _cells(k, support[k], counts[k], strength[k])) for k, name in enumerate(names)]


def _cells(row: int, support: int, counts: Ints, strength: Floats) -> list[_Cell]:
    columns = enumerate(zip(counts.tolist(), strength.tolist(), strict=True))
    return [_Cell(count, count / max(1, support), depth, "y" if k == row else "n") for k, (count, depth) in columns]


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
