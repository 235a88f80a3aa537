"""Knowing that it does not know: how familiar an image is to a model, and where to draw the line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featherlight.metrics.logits import Floats, log_sum_exp, most_likely

DEFAULT_SCORE = "probability"
_SLACK = 1e-4  # relative: by so little do runtimes differ


def known_scores(logits: ArrayLike, score: str, temperature: float = 1.0) -> Floats:
    """How familiar each image is, (N,); higher is more.

    Args:
        logits: (N, K).
        score: ``energy``, the logarithm of the sum of exp(logits), which is the negative free energy of Liu et al.
            2020, "Energy-based Out-of-distribution Detection", arXiv:2010.03759; or ``probability``, of the likeliest
            class (Hendrycks and Gimpel 2017, arXiv:1610.02136).
        temperature: of the probability.
    """
    return log_sum_exp(logits) if score == "energy" else most_likely(logits, temperature)[1]


def accepts(logits: ArrayLike, reject: Mapping[str, Any], temperature: float = 1.0) -> NDArray[np.bool_]:
    """Which images, (N,), are familiar enough, by the field ``reject`` of a model's card."""
    return np.asarray(known_scores(logits, reject["score"], temperature) >= reject["threshold"])


def fit_rule(
    logits: ArrayLike, reject_rate: float, temperature: float, score: str = DEFAULT_SCORE
) -> dict[str, Any] | None:
    """The field ``reject`` of a model's card for validation images, logits (N, K): so many of them are rejected.

    Returns None where the rate is 0, and where outputs are NaN or infinite.
    """
    scores = known_scores(logits, score, temperature)
    if not reject_rate or not np.isfinite(scores).all():
        return None
    return {
        "score": score,
        "threshold": fit_to_known(scores, reject_rate),
        "target_false_reject_rate": reject_rate,
        "fitted_on": "val",
        "num_images": len(scores),
    }


def fit_to_known(scores: ArrayLike, reject_rate: float) -> float:
    """A threshold that rejects at most this part, in [0, 1), of images that should be accepted, scores (N,)."""
    ordered = np.sort(np.asarray(scores, np.float64))
    lowest = ordered[_whole(reject_rate, ordered)]
    return _between(ordered[ordered < lowest], lowest)


def fit_to_unknown(scores: ArrayLike, accept_rate: float) -> float:
    """A threshold that accepts at most this part, in [0, 1), of images that should be rejected, scores (N,)."""
    ordered = np.sort(np.asarray(scores, np.float64))
    highest = ordered[len(ordered) - 1 - _whole(accept_rate, ordered)]
    above = ordered[ordered > highest]
    return _between(ordered[ordered <= highest], above[0] if len(above) else highest + _SLACK * max(1, abs(highest)))


def _whole(rate: float, scores: Floats) -> int:
    return math.floor(rate * len(scores) + 1e-9)


def _between(rejected: Floats, lowest: float) -> float:
    """A threshold above all rejected scores and not above the lowest accepted one.

    Halfway between the two: another runtime's last digits then move no image to the other side.
    """
    if not len(rejected):
        return float(lowest - _SLACK * max(1, abs(lowest)))
    middle = (rejected[-1] + lowest) / 2
    return float(middle if middle > rejected[-1] else lowest)


def area_under_roc(known: ArrayLike, unknown: ArrayLike) -> float:
    """How often a known image scores higher than an unknown one, ties counting half: 1 is perfect, 0.5 is chance."""
    ordered = np.sort(np.asarray(known, np.float64))
    below, up_to = (np.searchsorted(ordered, unknown, side) for side in ("left", "right"))
    return float(1 - np.mean((below + up_to) / 2) / len(ordered))
