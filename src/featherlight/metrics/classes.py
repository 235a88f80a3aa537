"""Which classes are found, and what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.logits import Floats, Ints

Cells = tuple[Ints, Ints, Ints]  # true class, predicted class, count: where a confusion matrix is not zero, row by row

MOST_CONFUSED = 10
MAX_DENSE_CLASSES = 1000  # a full matrix grows with the square: of 10,000 classes it is 300 MB, nearly all zeros
CELL_NAMES = ("true", "predicted", "count")


def macro_scores(labels: Ints, predicted: Ints, num_classes: int) -> dict[str, float]:
    """Precision, recall and F1 of each class, averaged over the classes that have images: all classes count alike.

    Args:
        labels: true class indices (N,).
        predicted: (N,).
        num_classes: K.

    Returns:
        ``macro_precision``, ``macro_recall`` (also called balanced accuracy) and ``macro_f1``.
    """
    scores = _class_scores(labels, predicted, num_classes)
    present = scores.pop("support") > 0
    return {f"macro_{name}": float(values[present].mean()) for name, values in scores.items()}


def per_class_scores(labels: Ints, predicted: Ints, num_classes: int) -> list[dict[str, float]]:
    """``precision``, ``recall``, ``f1`` and ``support`` of each class; 0 where undefined."""
    columns = _class_scores(labels, predicted, num_classes)
    return [{key: column[i].item() for key, column in columns.items()} for i in range(num_classes)]


def _class_scores(labels: Ints, predicted: Ints, num_classes: int) -> dict[str, NDArray[Any]]:
    right, support, named = (
        np.bincount(values, minlength=num_classes) for values in (labels[labels == predicted], labels, predicted)
    )
    return {**scores_of_counts(right, support, named), "support": support}


def scores_of_counts(right: NDArray[Any], support: NDArray[Any], named: NDArray[Any]) -> dict[str, Floats]:
    """Precision, recall and F1 of any shape from how many images are right, of the class, and named so."""
    return {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(named + support, 1),
    }


def count_confusions(labels: Ints, predicted: Ints, num_classes: int) -> Cells:
    """Where the confusion matrix is not zero."""
    cells, count = np.unique(labels * num_classes + predicted, return_counts=True)
    true, named = np.divmod(cells, num_classes)
    return true, named, count


def confusion_matrix(cells: Cells, num_classes: int) -> list[list[int]] | dict[str, list[int]]:
    """The field ``confusion_matrix``: full, or of very many classes what is not zero."""
    true, predicted, count = cells
    if num_classes > MAX_DENSE_CLASSES:
        columns = {name: column.tolist() for name, column in zip(CELL_NAMES, cells, strict=True)}
        return {"shape": [num_classes, num_classes], **columns}
    matrix = np.zeros((num_classes, num_classes), np.int64)
    matrix[true, predicted] = count
    full: list[list[int]] = matrix.tolist()
    return full


def most_confused_pairs(cells: Cells, classes: Sequence[str]) -> list[list[Any]]:
    """``[true, predicted, count]`` of the wrong cells, most frequent first."""
    true, predicted, count = (column[cells[0] != cells[1]] for column in cells)
    order = np.argsort(-count, kind="stable")[:MOST_CONFUSED]  # equal counts stay in class order
    return [[classes[true[k]], classes[predicted[k]], int(count[k])] for k in order]
