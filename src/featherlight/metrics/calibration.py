"""Whether a probability of 90 % is right nine times of ten, and the temperature that makes it so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from featherlight.metrics.logits import (
    Floats,
    Ints,
    cross_entropy,
    most_likely,
    of_label,
    rank_of_label,
    shifted,
    softmax,
)

TEMPERATURE_RANGE = (0.05, 20.0)
BINS = 15
BINNING = f"{BINS} equal-width bins of the top probability"
_BISECTIONS = 40  # log(20 / 0.05) / 2**40: T is found to about 1e-11
_FITTED_ON = 2**24  # logits; of more, images at equal distances do: one number needs no million of them


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
    relative, truth = shifted(scores[chosen]), truth[chosen]
    if len(truth) < 2 or np.all(rank_of_label(relative, truth) == 0):
        return 1.0
    low, high = (math.log(bound) for bound in TEMPERATURE_RANGE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _wants_higher_temperature(relative, truth, math.exp(middle)) else (low, middle)
    temperature = math.exp((low + high) / 2)
    gains = cross_entropy(relative, truth, temperature) < cross_entropy(relative, truth)
    return temperature if gains else 1.0


def _wants_higher_temperature(relative: Floats, labels: Ints, temperature: float) -> bool:
    """Whether the loss still falls with T: its slope in 1/T is E_p[logit] - logit of the label."""
    expected = (softmax(relative, temperature) * relative).sum(axis=1)
    return bool(np.mean(expected - of_label(relative, labels)) > 0)


def reliability(logits: ArrayLike, labels: ArrayLike, temperature: float) -> dict[str, Any]:
    """How often images of each confidence are right, with and without the temperature.

    Returns:
        The field ``reliability`` of :class:`featherlight.metrics.evaluation.Evaluation`.
    """
    before, after = (_bins(logits, labels, value) for value in (1.0, temperature))
    return {
        "binning": BINNING,
        "bins": after,
        "bins_before": before,
        "ece_before": calibration_error(before),
        "ece_after": calibration_error(after),
    }


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Expected calibration error: confidence minus accuracy of a bin, without sign, in the mean over images."""
    filled = [entry for entry in bins if entry["count"]]
    total = sum(entry["count"] for entry in filled)
    return float(sum(entry["count"] * abs(entry["confidence"] - entry["accuracy"]) for entry in filled) / total)


def _bins(logits: ArrayLike, labels: ArrayLike, temperature: float) -> list[dict[str, Any]]:
    predicted, confidence = most_likely(logits, temperature)
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, values, BINS) for values in (confidence, predicted == np.asarray(labels))]
    return [
        {
            "low": k / BINS,
            "high": (k + 1) / BINS,
            "count": int(count[k]),
            "confidence": float(sums[0][k] / count[k]) if count[k] else None,
            "accuracy": float(sums[1][k] / count[k]) if count[k] else None,
        }
        for k in range(BINS)
    ]
