"""From logits and labels to everything ``evaluation.json`` says: accuracy, confusion, calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featherlight.errors import DataError, FeatherlightError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOP_K = 5
MOST_CONFUSED = 10
TEMPERATURE_RANGE = (0.05, 20.0)
_BISECTIONS = 40  # log(20 / 0.05) / 2**40: T is found to about 1e-11


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities of shape (N, K) from logits (N, K); rows sum to one however large the logits are."""
    exponentials = np.exp(_shifted(logits) / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def cross_entropy(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood, in nats, of ``labels`` (N,) under ``softmax(logits, temperature)``."""
    scaled = _shifted(logits) / temperature
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - _of_label(scaled, np.asarray(labels))))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature in [0.05, 20] under which held-out ``labels`` (N,) are likeliest, given logits (N, K).

    Divides all logits by one number, so accuracy stays and confidence becomes honest (Guo et al. 2017,
    "On Calibration of Modern Neural Networks", arXiv:1706.04599). The loss is convex in 1/T: its slope
    changes sign once, and bisection on log T finds where.

    Returns 1.0 for fewer than two images, when no temperature lowers the loss, and when every image is
    named correctly: then ever smaller temperatures win, which tells nothing about new images.
    """
    shifted, truth = _shifted(logits), np.asarray(labels)
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
        confusion_matrix: counts; rows are true classes, columns predicted ones.
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
    confusion_matrix: list[list[int]]
    most_confused: list[list[Any]]
    temperature: float = 1.0
    unreadable: list[list[str]] = field(default_factory=list)

    def to_json(self) -> str:
        """The text of ``evaluation.json``: one line a field."""
        rows = (f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in asdict(self).items())
        return "{\n" + ",\n".join(rows) + "\n}\n"

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
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    _check(scores, truth, classes, model=model, data=data, split=split)
    rank = _rank_of_label(scores, truth)
    predicted = scores.argmax(axis=1)
    confusion = _confusion_matrix(truth, predicted, len(classes))
    per_class = _per_class(confusion)
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
        per_class=dict(zip(classes, per_class, strict=True)),
        confusion_matrix=confusion.tolist(),
        most_confused=_most_confused(confusion, classes),
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
    right, support, named = (
        np.bincount(values, minlength=num_classes) for values in (labels[labels == predicted], labels, predicted)
    )
    present = support > 0
    scores = {"precision": right / np.maximum(named, 1), "recall": right / np.maximum(support, 1)}
    scores["f1"] = 2 * right / np.maximum(named + support, 1)
    return {f"macro_{name}": float(values[present].mean()) for name, values in scores.items()}


def _check(logits: Floats, labels: Ints, classes: Sequence[str], *, model: str, data: str, split: str) -> None:
    if len(labels) == 0:
        raise DataError(f"no images to evaluate: the {split} split of {data} is empty or none of it can be read")
    if logits.shape != (len(labels), len(classes)):
        raise ValueError(f"logits {logits.shape} do not fit {len(labels)} labels and {len(classes)} classes")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()} do not fit {len(classes)} classes")
    broken = int(np.sum(~np.isfinite(logits).all(axis=1)))
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


def _confusion_matrix(truth: Ints, predicted: Ints, num_classes: int) -> Ints:
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _per_class(confusion: Ints) -> list[dict[str, float]]:
    right, support, named = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    columns = {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(named + support, 1),
        "support": support,
    }
    return [{key: column[i].item() for key, column in columns.items()} for i in range(len(confusion))]


def _most_confused(confusion: Ints, classes: Sequence[str]) -> list[list[Any]]:
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]  # equal counts stay in class order
    pairs = (divmod(int(cell), len(classes)) for cell in order)
    return [[classes[true], classes[named], int(wrong[true, named])] for true, named in pairs if wrong[true, named]]
