"""Images that are copies of each other, exactly or nearly, and what hangs together through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.facts import Facts
from featherlight.sources.looks import near_pairs

Pairs = NDArray[np.int64]  # (P, 2): positions, the smaller first


@dataclass(frozen=True)
class Duplicates:
    """Copies among N images.

    Attributes:
        exact: for each picture that occurs more than once the positions of its copies, ascending.
        near: pairs that look alike; of exact copies only the first takes part.
    """

    exact: tuple[NDArray[np.int64], ...]
    near: Pairs

    def links(self) -> Pairs:
        """Pairs enough to connect everything that is alike."""
        chains = [np.stack((copies[:-1], copies[1:]), axis=1) for copies in self.exact]
        return np.concatenate([self.near, *chains])


def find_duplicates(facts: Facts) -> Duplicates:
    """Finds copies among the readable images: the same pixels, or the same looks."""
    readable = np.flatnonzero(facts.readable)
    exact = equal_groups(facts.pixels[readable])
    repeated = np.concatenate([copies[1:] for copies in exact]) if exact else np.zeros(0, np.int64)
    single = np.delete(readable, repeated)
    near = near_pairs(facts.looks[single], facts.thumbs[single])
    return Duplicates(tuple(readable[copies] for copies in exact), single[near])


def equal_groups(values: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """Positions that share a value, for each value that occurs more than once; in order of first positions."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(values[order][1:] != values[order][:-1]) + 1
    groups = [group for group in np.split(order, ends) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def components(count: int, pairs: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """For each of ``count`` positions the smallest position that it hangs together with through ``pairs``."""
    parent = list(range(count))

    def find(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for one, other in pairs:
        low, high = sorted((find(int(one)), find(int(other))))
        parent[high] = low
    return np.array([find(position) for position in range(count)], np.int64)
