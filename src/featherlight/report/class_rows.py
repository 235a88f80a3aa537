"""Rows of the table of classes, with intervals: a class has few images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from featherlight.metrics import Evaluation

MAX_LISTED_CLASSES = 1000
_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassRow:
    """How well one class is known.

    Attributes:
        place: in the model, from 1.
        name: of the class.
        support: images it has.
        named: images that were said to be of it.
        precision: with ``precision_interval``, 95 %.
        recall: with ``recall_interval``, 95 %.
        f1: their harmonic mean.
    """

    place: int
    name: str
    support: int
    named: int
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    f1: float


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """All classes; when there are too many for a page, those with images and the lowest F1."""
    _, predicted, count = evaluation.confusions()
    named = np.bincount(predicted, count, minlength=len(evaluation.classes))
    rows = [_row(evaluation, place, int(named[place])) for place in range(len(evaluation.classes))]
    if len(rows) <= MAX_LISTED_CLASSES:
        return rows
    return sorted((row for row in rows if row.support), key=lambda row: row.f1)[:MAX_LISTED_CLASSES]


def _row(evaluation: Evaluation, place: int, named: int) -> ClassRow:
    name = evaluation.classes[place]
    scores = evaluation.per_class[name]
    support, precision, recall = int(scores["support"]), scores["precision"], scores["recall"]
    intervals = wilson_interval(precision, named), wilson_interval(recall, support)
    return ClassRow(place + 1, name, support, named, precision, intervals[0], recall, intervals[1], scores["f1"])


def wilson_interval(share: float, count: int) -> Interval:
    """Where a share lies that was ``share`` in ``count`` images, with 95 % certainty (Wilson 1927).

    Unlike the usual one it holds for few images and for shares of 0 and 1.
    """
    if count == 0:
        return 0.0, 1.0
    spread = _Z * math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding must not leave a share of 0 or 1 outside
