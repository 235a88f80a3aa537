"""Everything ``evaluation.json`` says, as one table of plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featherlight.errors import DataError, FeatherlightError
from featherlight.metrics.calibration import reliability
from featherlight.metrics.classes import (
    CELL_NAMES,
    Cells,
    confusion_matrix,
    count_confusions,
    macro_scores,
    most_confused_pairs,
    per_class_scores,
)
from featherlight.metrics.intervals import macro_intervals, mean_interval, share_interval
from featherlight.metrics.logits import Ints, by_rows, losses, rank_of_label, squared_errors
from featherlight.metrics.rejection import accepts

TOP_K = 5


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
        top1_interval: ``[low, high]``, where ``top1`` of other such images would lie in 95 % of cases.
        intervals: likewise of ``top5``, ``macro_precision``, ``macro_recall``, ``macro_f1``, ``nll`` and ``brier``.
        ece: expected calibration error: by how much confidence and accuracy differ, ``reliability`` says in which bins.
        nll: mean negative log-likelihood, in nats; the same as ``loss``.
        brier: squared distance of the probabilities from a one at the true class, summed over classes, in the mean.
        reliability: ``binning``, ``bins`` of ``low``, ``high``, ``count``, and the mean ``confidence`` and ``accuracy``
            of the images in it (None where there are none), ``bins_before``: the same without temperature,
            ``ece_before`` and ``ece_after``.
        reject: ``score``, ``threshold`` and how it was fitted, ``kept``: part of the images that are accepted,
            ``accuracy_of_kept`` (None if none is); None when the model has no threshold.
        mistakes: ``path``, ``true``, ``predicted``, ``probability``, ``top`` (``[[label, probability], ...]``) and
            ``kind`` of some: ``worst``, wrong with the highest probability, ``pair``, others of the most confused
            pairs of classes, or ``unsure``, right or wrong with the lowest probability.
        corruptions: accuracy on images made worse, when it was asked for.
        tta: what averaging over variants of each image changes, when it was asked for.
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
    top1_interval: list[float] | None = None  # from here on None in files of older versions
    intervals: dict[str, list[float]] = field(default_factory=dict)
    ece: float | None = None
    nll: float | None = None
    brier: float | None = None
    reliability: dict[str, Any] | None = None
    reject: dict[str, Any] | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    corruptions: dict[str, Any] | None = None
    tta: dict[str, Any] | None = None

    def to_json(self) -> str:
        """The text of ``evaluation.json``: one line a field."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        rows = (f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in values)
        return "{\n" + ",\n".join(rows) + "\n}\n"

    def confusions(self) -> Cells:
        """Where the confusion matrix is not zero, in either of its forms."""
        if isinstance(self.confusion_matrix, dict):
            true, predicted, count = (np.array(self.confusion_matrix[name], np.int64) for name in CELL_NAMES)
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
    reject: Mapping[str, Any] | None = None,
    unreadable: Iterable[Sequence[str]] = (),
) -> Evaluation:
    """Measures logits (N, K) against labels (N,), class indices; equal logits rank in class order.

    ``reject`` is that of the model's card.

    Raises:
        DataError: there are no images.
        FeatherlightError: logits are NaN or infinite.
        ValueError: shapes or labels do not fit ``classes``.
    """
    scores, truth = np.asarray(logits), np.asarray(labels, dtype=np.int64)
    _check(scores, truth, classes, model=model, data=data, split=split)
    rank, predicted = by_rows(rank_of_label, scores, truth), scores.argmax(axis=1)
    macro = macro_scores(truth, predicted, len(classes))
    cells = count_confusions(truth, predicted, len(classes))
    loss, error = losses(scores, truth, temperature), squared_errors(scores, truth, temperature)
    calibration = reliability(scores, truth, temperature)
    in_top = [int(np.sum(rank < k)) for k in (1, TOP_K)]
    return Evaluation(
        model=model,
        data=data,
        split=split,
        engine=engine,
        num_images=len(truth),
        classes=list(classes),
        top1=in_top[0] / len(truth),
        top5=in_top[1] / len(truth),
        loss=float(loss.mean()),
        macro_precision=macro["macro_precision"],
        macro_recall=macro["macro_recall"],
        macro_f1=macro["macro_f1"],
        per_class=dict(zip(classes, per_class_scores(truth, predicted, len(classes)), strict=True)),
        confusion_matrix=confusion_matrix(cells, len(classes)),
        most_confused=most_confused_pairs(cells, classes),
        temperature=float(temperature),
        unreadable=[list(entry) for entry in unreadable],
        top1_interval=share_interval(in_top[0], len(truth)),
        intervals={
            "top5": share_interval(in_top[1], len(truth)),
            **macro_intervals(cells, len(classes)),
            **{name: mean_interval(values) for name, values in (("nll", loss), ("brier", error))},
        },
        ece=calibration["ece_after"],
        nll=float(loss.mean()),
        brier=float(error.mean()),
        reliability=calibration,
        reject=_rejection(scores, reject, temperature, predicted == truth),
    )


def _rejection(
    logits: NDArray[Any], reject: Mapping[str, Any] | None, temperature: float, right: NDArray[np.bool_]
) -> dict[str, Any] | None:
    if reject is None:
        return None
    kept = accepts(logits, reject, temperature)
    accuracy = float(right[kept].mean()) if kept.any() else None
    return {**reject, "kept": float(kept.mean()), "accuracy_of_kept": accuracy}


def _check(logits: NDArray[Any], labels: Ints, classes: Sequence[str], *, model: str, data: str, split: str) -> None:
    if len(labels) == 0:
        raise DataError(f"no images to evaluate: the {split} split of {data} is empty or none of it can be read")
    if logits.shape != (len(labels), len(classes)):
        raise ValueError(f"logits {logits.shape} do not fit {len(labels)} labels and {len(classes)} classes")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()} do not fit {len(classes)} classes")
    broken = int(np.sum(by_rows(lambda block, _: ~np.isfinite(block).all(axis=1), logits)))
    if broken:
        raise FeatherlightError(
            f"{model} gives NaN or infinite outputs for {broken} of {len(labels)} images of {data}: "
            "its weights are broken. Train it again with a lower learning rate, or use an earlier checkpoint."
        )
