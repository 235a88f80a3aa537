from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featherlight.sources.folds import deal_folds

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(LABELS, st.lists(st.integers(0, 8), min_size=60, max_size=60), st.integers(2, 5))
def test_what_hangs_together_is_in_one_fold(labels: list[int], roots: list[int], folds: int) -> None:
    names = np.array(roots[: len(labels)])
    dealt = deal_folds(np.array(labels), names, folds)
    assert dealt.shape == (len(labels),)
    assert set(dealt.tolist()) <= set(range(folds))
    assert all(len(set(dealt[names == name].tolist())) == 1 for name in names)


@given(LABELS, st.integers(2, 5), st.integers(0, 9))
def test_classes_are_spread_evenly(labels: list[int], folds: int, seed: int) -> None:
    values = np.array(labels)
    dealt = deal_folds(values, np.arange(len(values)), folds, seed)
    for label in set(labels):
        counts = np.bincount(dealt[values == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_small_classes_begin_with_different_folds() -> None:
    dealt = deal_folds(np.arange(8), np.arange(8), 4)
    assert np.bincount(dealt).tolist() == [2, 2, 2, 2]


def test_seed_decides_who_goes_where() -> None:
    labels, roots = np.zeros(100, np.int64), np.arange(100)
    assert (deal_folds(labels, roots, 4, 1) == deal_folds(labels, roots, 4, 1)).all()
    assert (deal_folds(labels, roots, 4, 1) != deal_folds(labels, roots, 4, 2)).any()
