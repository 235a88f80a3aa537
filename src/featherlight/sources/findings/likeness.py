"""Whether images of one group look more alike than images of different groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAIRS = 4000
ALIKE = 0.9  # of the difference that is usual, at most
SURE = 3.0  # standard errors


@dataclass(frozen=True)
class Likeness:
    """Differences within groups compared with those between them.

    Attributes:
        ratio: of the mean differences; 1: groups tell nothing.
        is_sure: groups are clearly more alike, and not by chance.
    """

    ratio: float
    is_sure: bool


def compare_groups(groups: NDArray[np.int64], labels: NDArray[np.int64], thumbs: NDArray[np.uint8]) -> Likeness:
    """Compares pairs of one group with pairs of the same two classes that are of different groups.

    Args:
        groups: of each image (N,); negative: none.
        labels: class of each image (N,).
        thumbs: tiny pictures (N, 16, 16).
    """
    rng = np.random.default_rng(0)
    one, other = _pairs_within(groups, rng)
    stranger = _of_same_class(labels, other, rng)
    different = groups[stranger] != groups[one]
    one, other, stranger = one[different], other[different], stranger[different]
    if len(one) < 2:
        return Likeness(1.0, is_sure=False)
    within, between = _differences(thumbs, one, other), _differences(thumbs, one, stranger)
    ratio = float(within.mean() / max(between.mean(), 1e-9))
    gain = between - within
    error = gain.std() / math.sqrt(min(len(gain), len(groups)))  # pairs are no more independent than images
    return Likeness(ratio, bool(ratio <= ALIKE and gain.mean() > SURE * error))


def _pairs_within(groups: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random pairs of different images of one group."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)[1:]
    size, start = np.repeat(sizes, sizes), np.repeat(starts, sizes)
    chosen = rng.permutation(np.flatnonzero(size > 1))[:PAIRS]
    step = 1 + (rng.random(len(chosen)) * (size[chosen] - 1)).astype(np.int64)
    partner = start[chosen] + (chosen - start[chosen] + step) % size[chosen]
    return order[chosen], order[partner]


def _of_same_class(labels: NDArray[np.int64], images: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each image a random one of its class."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[images], side="left")
    ends = np.searchsorted(labels[order], labels[images], side="right")
    return order[starts + (rng.random(len(images)) * (ends - starts)).astype(np.int64)]


def _differences(thumbs: NDArray[np.uint8], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    difference: NDArray[np.float64] = np.abs(thumbs[one].astype(np.int16) - thumbs[other]).mean(axis=(1, 2))
    return difference
