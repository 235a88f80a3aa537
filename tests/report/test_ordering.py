from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featherlight.report.ordering import order_alike


def confused_within(families: np.ndarray) -> np.ndarray:
    """Each class is taken for each other of its family now and then, for no other."""
    same = families[:, None] == families[None, :]
    return np.where(np.eye(len(families), dtype=bool), 90, np.where(same, 3, 0)).astype(np.int64)


@settings(deadline=None)
@given(st.permutations([number % 4 for number in range(14)]))
def test_classes_of_a_family_stand_together(families: list[int]) -> None:
    found = np.array(families)[order_alike(confused_within(np.array(families)))]
    assert np.count_nonzero(np.diff(found)) == 3


@settings(deadline=None)
@given(st.integers(1, 12).flatmap(lambda k: arrays.arrays(np.int64, (k, k), elements=st.integers(0, 50))))
def test_every_class_is_there_once(counts: np.ndarray) -> None:
    assert sorted(order_alike(counts)) == list(range(len(counts)))


def test_classes_without_confusion_stand_last_in_their_order() -> None:
    counts = np.diag([5, 5, 5, 5, 5])
    counts[1, 4] = 2
    assert order_alike(counts)[2:] == [0, 2, 3]
    assert sorted(order_alike(counts)[:2]) == [1, 4]


def test_groups_are_turned_so_that_neighbours_are_alike() -> None:
    counts = np.diag([100] * 4)
    counts[0, 1] = counts[2, 3] = 20  # two pairs
    counts[1, 2] = 5  # which touch between 1 and 2
    assert order_alike(counts) in ([0, 1, 2, 3], [3, 2, 1, 0])


def test_blocks_are_found_among_a_thousand_classes_with_noise() -> None:
    rng = np.random.default_rng(0)
    family = rng.permutation(1000) % 40
    labels = rng.integers(0, 1000, 50_000)
    members = [np.flatnonzero(family == number) for number in range(40)]
    named = np.array([rng.choice(members[family[k]]) for k in labels])
    named = np.where(rng.random(len(labels)) < 0.35, named, labels)
    named = np.where(rng.random(len(labels)) < 0.05, rng.integers(0, 1000, len(labels)), named)
    counts = np.zeros((1000, 1000), np.int64)
    np.add.at(counts, (labels, named), 1)
    borders = np.count_nonzero(np.diff(family[order_alike(counts)]))
    assert borders == 39
