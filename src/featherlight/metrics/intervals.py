"""How far each figure would move if other images of the same kind had been measured: 95 % intervals.

Bootstrap (Efron 1979): images are drawn anew, with replacement, and the figure is computed again and again. Drawing
images is drawing counts, binomial for a share of right ones and multinomial for a confusion matrix, which costs the
same for a hundred images and a million.
"""

from __future__ import annotations

import math

import numpy as np

from featherlight.metrics.classes import Cells, scores_of_counts
from featherlight.metrics.logits import Floats

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 0
_TAILS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))  # percentiles
_DRAWN_AT_ONCE = 2**21  # counts of cells; 16 MB
_DRAWN_AT_MOST = 2**25  # of more than 16,000 cells fewer resamples are drawn, a second's worth
_Z = 1.959963984540054  # of the normal distribution, 95 % lie within so many standard deviations


def share_interval(count: int, total: int) -> list[float]:
    """Of a share ``count / total``: percentiles of the bootstrap.

    A bootstrap of images that are all right, or all wrong, knows no doubt. There the exact bound of Clopper and Pearson
    (1934) stands instead.
    """
    if count in (0, total):
        doubt = 1 - ((1 - LEVEL) / 2) ** (1 / total)
        return [0.0, doubt] if count == 0 else [1 - doubt, 1.0]
    drawn = np.random.default_rng(_SEED).binomial(total, count / total, RESAMPLES)
    return _percentiles(drawn / total)


def mean_interval(values: Floats) -> list[float]:
    """Of the mean of a number an image: by its standard error, what a bootstrap of a mean comes to."""
    mean = float(np.mean(values))
    reach = _Z * float(np.std(values)) / math.sqrt(len(values))
    return [mean - reach, mean + reach]


def macro_intervals(cells: Cells, num_classes: int) -> dict[str, list[float]]:
    """Of ``macro_precision``, ``macro_recall`` and ``macro_f1``, from the confusions."""
    true, predicted, count = cells
    total = int(count.sum())
    if np.array_equal(true, predicted):  # all right: as for a share
        return dict.fromkeys(("macro_precision", "macro_recall", "macro_f1"), share_interval(total, total))
    generator = np.random.default_rng(_SEED)
    resamples = int(min(RESAMPLES, max(100, _DRAWN_AT_MOST // len(count))))
    at_once = max(1, _DRAWN_AT_ONCE // max(len(count), num_classes))
    parts = []
    for start in range(0, resamples, at_once):
        drawn = generator.multinomial(total, count / total, min(at_once, resamples - start))
        parts.append(_macro(drawn, cells, num_classes))
    return {name: _percentiles(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def _macro(drawn: np.ndarray, cells: Cells, num_classes: int) -> dict[str, Floats]:
    """Scores of each resample (R,), from counts of cells (R, C)."""
    true, predicted, _ = cells
    right = true == predicted
    counted = [
        _by_class(drawn[:, chosen], classes[chosen], num_classes)
        for chosen, classes in ((right, true), (slice(None), true), (slice(None), predicted))
    ]
    present = counted[1] > 0
    scores = scores_of_counts(*counted)
    return {f"macro_{name}": (value * present).sum(1) / present.sum(1) for name, value in scores.items()}


def _by_class(drawn: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Sums the columns of each class: (R, C) -> (R, K)."""
    rows = np.arange(len(drawn))[:, None] * num_classes
    flat = np.bincount((rows + classes).ravel(), drawn.ravel(), len(drawn) * num_classes)
    return flat.reshape(len(drawn), num_classes)


def _percentiles(values: Floats) -> list[float]:
    low, high = np.percentile(values, _TAILS)
    return [float(low), float(high)]
