"""Whether one model is really better than another on the same images, or only luckier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from featherlight.comparison.result import Pair
from featherlight.metrics.intervals import LEVEL, RESAMPLES

REAL_BELOW = 0.05  # a p-value, after Holm's correction


def compare_pairs(names: Sequence[str], right: NDArray[np.bool_], named: NDArray[np.int64]) -> tuple[Pair, ...]:
    """Compares each model with each.

    Args:
        names: of the models.
        right: whether each names each image rightly, (models, N).
        named: the class that each names, (models, N), numbered alike for all.
    """
    places = list(combinations(range(len(names)), 2))
    only = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in places]
    tests = [mcnemar(*counts) for counts in only]
    count = right.shape[1]
    return tuple(
        Pair(
            first=names[a],
            second=names[b],
            difference=(only_b - only_a) / count,
            interval=difference_interval(only_a, only_b, count),
            only_first=only_a,
            only_second=only_b,
            disagreements=int((named[a] != named[b]).sum()),
            p=p,
            p_corrected=p_corrected,
            real=p_corrected < REAL_BELOW,
        )
        for (a, b), (only_a, only_b), p, p_corrected in zip(places, only, tests, holm(tests), strict=True)
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test (McNemar 1947): are two models right equally often on the same images?

    Only images that one of the two names rightly tell; without a difference each model has half of them, so their
    number is binomial. The exact test holds at any number of images, and so no other is needed.
    """
    count, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm 1979): the smallest by all, the next by one less, never falling."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def difference_interval(only_first: int, only_second: int, count: int, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the paired difference of two accuracies: percentiles over resampled images.

    A resample of the images has multinomial counts, so those are drawn: it takes no time at any number of images. Where
    no image tells the models apart, a resample has none either; there the bound stands below which such images are
    that rare (Clopper and Pearson 1934).
    """
    if only_first + only_second == 0:
        doubt = 1 - ((1 - LEVEL) / 2) ** (1 / count)
        return -doubt, doubt
    shares = np.array([only_first, only_second, count - only_first - only_second]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, RESAMPLES)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / count, [tail, 100 - tail])
    return float(low), float(high)
