"""From logits and labels to everything ``evaluation.json`` says: accuracy, confusion, calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featherlight.errors import DataError, FeatherlightError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells = tuple[Ints, Ints, Ints]  # true class, predicted class, count: where a confusion matrix is not zero, row by row

TOP_K = 5
MOST_CONFUSED = 10
TEMPERATURE_RANGE = (0.05, 20.0)
MAX_DENSE_CLASSES = 1000  # a full matrix grows with the square: of 10,000 classes it is 300 MB, nearly all zeros
_CELL_NAMES = ("true", "predicted", "count")
_BISECTIONS = 40  # log(20 / 0.05) / 2**40: T is found to about 1e-11
_AT_A_TIME = 2**22  # logits in float64, 32 MB
_FITTED_ON = 2**24  # logits; of more, images at equal distances do: one number needs no million of them


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities of shape (N, K) from logits (N, K); rows sum to one however large the logits are."""
    exponentials = np.exp(_shifted(logits) / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def most_likely(logits: ArrayLike, temperature: float = 1.0) -> tuple[Ints, Floats]:
    """The likeliest class of each image, (N,), and its probability; without all the others' in memory at once."""
    scores = np.asarray(logits)
    probability = _by_rows(lambda block, _: 1 / np.exp(_shifted(block) / temperature).sum(axis=1), scores)
    return scores.argmax(axis=1), probability


def cross_entropy(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood, in nats, of ``labels`` (N,) under ``softmax(logits, temperature)``."""
    return float(np.mean(_by_rows(partial(_losses, temperature), np.asarray(logits), np.asarray(labels))))


def _losses(temperature: float, logits: Floats, labels: Ints) -> Floats:
    scaled = _shifted(logits) / temperature
    return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - _of_label(scaled, labels))


def _by_rows(
    measure: Callable[[NDArray[Any], Ints], NDArray[Any]], logits: NDArray[Any], labels: Ints | None = None
) -> NDArray[Any]:
    """Measures a number an image, some images at a time: in float64, and for many classes, all would not fit."""
    step = max(1, _AT_A_TIME // max(1, logits.shape[1]))
    truth = np.zeros(len(logits), np.int64) if labels is None else labels
    starts = range(0, max(1, len(logits)), step)
    return np.concatenate([measure(logits[k : k + step], truth[k : k + step]) for k in starts])


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature in [0.05, 20] under which held-out ``labels`` (N,) are likeliest, given logits (N, K).

    Divides all logits by one number, so accuracy stays and confidence becomes honest (Guo et al. 2017,
    "On Calibration of Modern Neural Networks", arXiv:1706.04599). The loss is convex in 1/T: its slope
    changes sign once, and bisection on log T finds where.

    Returns 1.0 for fewer than two images, when no temperature lowers the loss, and when every image is
    named correctly: then ever smaller temperatures win, which tells nothing about new images. Of more than
    ``_FITTED_ON`` logits (16,000 images of 1,000 classes) evenly spaced images are used.
    """
    scores, truth = np.asarray(logits), np.asarray(labels)
    count = min(len(truth), max(2, _FITTED_ON // max(1, scores.shape[1])))
    chosen = np.linspace(0, len(truth) - 1, count).astype(np.int64)
    shifted, truth = _shifted(scores[chosen]), truth[chosen]
    if len(truth) < 2 or np.all(_rank_of_label(shifted, truth) == 0):
        return 1.0
    low, high = (math.log(bound) for bound in TEMPERATURE_RANGE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _wants_higher_temperature(shifted, truth, math.exp(middle)) else (low, middle)
    temperature = math.exp((low + high) / 2)
    gains = cross_entropy(shifted, truth, temperature) < cross_entropy(shifted, truth)
    return temperature if gains else 1.0


def _wants_higher_temperature(shifted: Floats, labels: Ints, temperature: float) -> bool:
    """Whether the loss still falls with T: its slope in 1/T is E_p[logit] - logit of the label."""
    expected = (softmax(shifted, temperature) * shifted).sum(axis=1)
    return bool(np.mean(expected - _of_label(shifted, labels)) > 0)


@dataclass(frozen=True)
class Evaluation:
    """What one model did on one split: the fields of ``evaluation.json``, in plain JSON types.

    Attributes:
        model: name of the network or path of the model.
        data: what the images came from.
        split: ``train``, ``val`` or ``test``.
        engine: what ran the network.
        num_images: images that were read and classified.
        classes: names; the order of everything below.
        top1: fraction of images whose likeliest class is the true one.
        top5: fraction whose true class is among the ``min(5, K)`` likeliest.
        loss: mean cross-entropy in nats of the probabilities at ``temperature``.
        macro_precision: mean over the classes that have images; 0 for a class that was never predicted.
        macro_recall: likewise; also called balanced accuracy.
        macro_f1: likewise.
        per_class: name -> precision, recall, f1 (0.0 where undefined) and support, the number of images.
        confusion_matrix: counts; rows are true classes, columns predicted ones. Of more than 1,000 classes only what is
            not zero: ``{"shape": [K, K], "true": [...], "predicted": [...], "count": [...]}``.
        most_confused: up to ten ``[true name, predicted name, count]``, most frequent first.
        temperature: what logits were divided by.
        unreadable: ``[path, reason]`` of each file that was left out.
    """

    model: str
    data: str
    split: str
    engine: str
    num_images: int
    classes: list[str]
    top1: float
    top5: float
    loss: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    confusion_matrix: list[list[int]] | dict[str, list[int]]
    most_confused: list[list[Any]]
    temperature: float = 1.0
    unreadable: list[list[str]] = field(default_factory=list)

    def to_json(self) -> str:
        """The text of ``evaluation.json``: one line a field."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        rows = (f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in values)
        return "{\n" + ",\n".join(rows) + "\n}\n"

    def confusions(self) -> Cells:
        """Where the confusion matrix is not zero, in either of its forms."""
        if isinstance(self.confusion_matrix, dict):
            true, predicted, count = (np.array(self.confusion_matrix[name], np.int64) for name in _CELL_NAMES)
            return true, predicted, count
        matrix = np.array(self.confusion_matrix, np.int64)
        true, predicted = np.nonzero(matrix)
        return true, predicted, matrix[true, predicted]

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Reads what :meth:`to_json` wrote; fields of later versions are ignored.

        Raises:
            DataError: the text is no JSON or lacks a field.
        """
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{key: value for key, value in json.loads(text).items() if key in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"this is not an evaluation.json ({error}). Run `featherlight evaluate` again.") from error


def evaluate_logits(
    logits: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    model: str,
    data: str,
    split: str,
    engine: str,
    temperature: float = 1.0,
    unreadable: Iterable[Sequence[str]] = (),
) -> Evaluation:
    """Measures logits (N, K) against labels (N,), class indices; equal logits rank in class order.

    Raises:
        DataError: there are no images.
        FeatherlightError: logits are NaN or infinite.
        ValueError: shapes or labels do not fit ``classes``.
    """
    scores, truth = np.asarray(logits), np.asarray(labels, dtype=np.int64)
    _check(scores, truth, classes, model=model, data=data, split=split)
    rank = _by_rows(_rank_of_label, scores, truth)
    predicted = scores.argmax(axis=1)
    cells = _confusions(truth, predicted, len(classes))
    return Evaluation(
        model=model,
        data=data,
        split=split,
        engine=engine,
        num_images=len(truth),
        classes=list(classes),
        top1=float(np.mean(rank < 1)),
        top5=float(np.mean(rank < TOP_K)),
        loss=cross_entropy(scores, truth, temperature),
        **macro_scores(truth, predicted, len(classes)),
        per_class=dict(zip(classes, _per_class(truth, predicted, len(classes)), strict=True)),
        confusion_matrix=_matrix(cells, len(classes)),
        most_confused=_most_confused(cells, classes),
        temperature=float(temperature),
        unreadable=[list(entry) for entry in unreadable],
    )


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


def _class_scores(labels: Ints, predicted: Ints, num_classes: int) -> dict[str, NDArray[Any]]:
    right, support, named = (
        np.bincount(values, minlength=num_classes) for values in (labels[labels == predicted], labels, predicted)
    )
    return {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(named + support, 1),
        "support": support,
    }


def _check(logits: Floats, labels: Ints, classes: Sequence[str], *, model: str, data: str, split: str) -> None:
    if len(labels) == 0:
        raise DataError(f"no images to evaluate: the {split} split of {data} is empty or none of it can be read")
    if logits.shape != (len(labels), len(classes)):
        raise ValueError(f"logits {logits.shape} do not fit {len(labels)} labels and {len(classes)} classes")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()} do not fit {len(classes)} classes")
    broken = int(np.sum(_by_rows(lambda block, _: ~np.isfinite(block).all(axis=1), logits)))
    if broken:
        raise FeatherlightError(
            f"{model} gives NaN or infinite outputs for {broken} of {len(labels)} images of {data}: "
            "its weights are broken. Train it again with a lower learning rate, or use an earlier checkpoint."
        )


def _shifted(logits: ArrayLike) -> Floats:  # the largest logit of a row becomes 0: exp cannot overflow
    scores = np.asarray(logits, dtype=np.float64)
    return np.asarray(scores - scores.max(axis=1, keepdims=True))


def _of_label(scores: Floats, labels: Ints) -> Floats:
    return np.asarray(np.take_along_axis(scores, labels[:, None], axis=1)[:, 0])


def _rank_of_label(scores: Floats, labels: Ints) -> Ints:
    """How many classes stand before the true one, (N,): the larger scores, and equal ones earlier in order."""
    own = _of_label(scores, labels)[:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & earlier)).sum(axis=1))


def _per_class(labels: Ints, predicted: Ints, num_classes: int) -> list[dict[str, float]]:
    columns = _class_scores(labels, predicted, num_classes)
    return [{key: column[i].item() for key, column in columns.items()} for i in range(num_classes)]


def _confusions(labels: Ints, predicted: Ints, num_classes: int) -> Cells:
    cells, count = np.unique(labels * num_classes + predicted, return_counts=True)
    true, named = np.divmod(cells, num_classes)
    return true, named, count


def _matrix(cells: Cells, num_classes: int) -> list[list[int]] | dict[str, list[int]]:
    """The field ``confusion_matrix``: full, or of very many classes what is not zero."""
    true, predicted, count = cells
    if num_classes > MAX_DENSE_CLASSES:
        columns = {name: column.tolist() for name, column in zip(_CELL_NAMES, cells, strict=True)}
        return {"shape": [num_classes, num_classes], **columns}
    matrix = np.zeros((num_classes, num_classes), np.int64)
    matrix[true, predicted] = count
    full: list[list[int]] = matrix.tolist()
    return full


def _most_confused(cells: Cells, classes: Sequence[str]) -> list[list[Any]]:
    true, predicted, count = (column[cells[0] != cells[1]] for column in cells)
    order = np.argsort(-count, kind="stable")[:MOST_CONFUSED]  # equal counts stay in class order
    return [[classes[true[k]], classes[predicted[k]], int(count[k])] for k in order]
