"""The order of classes in which those that are taken for each other stand together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.logits import Floats, Ints


def order_alike(counts: Ints) -> list[int]:
    """Orders classes so that a confusion matrix shows blocks along its diagonal.

    Average linkage (Sokal and Michener 1958) joins the two groups of classes that are taken for each other most often;
    of the four ways to set two groups side by side the one whose neighbours are most alike is taken. Groups are found
    by chains of nearest neighbours (Murtagh 1983), which takes K^2 steps: half a second for 1,000 classes.

    Args:
        counts: confusion matrix (K, K).

    Returns:
        All classes; those that are taken for no other stand last, in class order.
    """
    alike = _similarity(counts)
    confused = np.flatnonzero(alike.any(axis=1))
    alone = np.flatnonzero(~alike.any(axis=1))
    if not len(confused):
        return [int(k) for k in alone]
    joined = _join(alike[np.ix_(confused, confused)])
    return [int(confused[k]) for k in joined] + [int(k) for k in alone]


def _similarity(counts: Ints) -> Floats:
    """How often two classes are taken for each other, as a part of their images; 0 with themselves."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    return np.asarray(share + share.T)


def _join(alike: Floats) -> list[int]:
    """All members of the last group that is left."""
    between = alike.copy()
    np.fill_diagonal(between, -1)
    members = [[k] for k in range(len(alike))]
    open_groups = np.ones(len(alike), dtype=bool)
    chain: list[int] = []
    for _ in range(len(alike) - 1):
        first, second = _nearest_pair(between, open_groups, chain)
        members[first] = _side_by_side(members[first], members[second], alike)
        _merge(between, first, second, len(members[first]), len(members[second]))
        members[second] = []
        open_groups[second] = False
    return max(members, key=len)


def _nearest_pair(between: Floats, open_groups: NDArray[np.bool_], chain: list[int]) -> tuple[int, int]:
    """Two groups that are each other's nearest; ``chain`` keeps what leads there for the next call."""
    if not chain:
        chain.append(int(np.flatnonzero(open_groups)[0]))
    while True:
        nearest = int(between[chain[-1]].argmax())
        if len(chain) > 1 and between[chain[-1], chain[-2]] >= between[chain[-1], nearest]:
            return chain.pop(), chain.pop()
        chain.append(nearest)


def _merge(between: Floats, first: int, second: int, joined: int, size: int) -> None:
    """Makes ``second`` a part of ``first``, which then has ``joined`` members; ``size`` of them were in ``second``."""
    mean = ((joined - size) * between[first] + size * between[second]) / joined
    mean[between[first] < 0] = -1  # itself, and groups that are closed
    mean[second] = mean[first] = -1
    between[first] = between[:, first] = mean
    between[second] = between[:, second] = -1


def _side_by_side(left: list[int], right: list[int], alike: Floats) -> list[int]:
    ways = [(a, b) for a in (left, left[::-1]) for b in (right, right[::-1])]
    best = max(range(4), key=lambda way: alike[ways[way][0][-1], ways[way][1][0]])
    return ways[best][0] + ways[best][1]
