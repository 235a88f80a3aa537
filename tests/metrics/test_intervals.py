from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from featherlight.metrics import intervals, macro_scores
from featherlight.metrics.classes import count_confusions
from featherlight.metrics.intervals import macro_intervals, mean_interval, share_interval


@given(st.integers(1, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_interval_of_a_share_lies_around_it_within_0_and_1(counts: tuple[int, int]) -> None:
    low, high = share_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    assert share_interval(*counts) == [low, high]  # the same each time


@pytest.mark.parametrize(("count", "total"), [(50, 100), (900, 1000), (60_000, 100_000)])
def test_interval_of_a_share_is_near_the_exact_one(count: int, total: int) -> None:
    exact = binomtest(count, total).proportion_ci(0.95, "wilson")
    error = np.sqrt(count / total * (1 - count / total) / total)
    np.testing.assert_allclose(share_interval(count, total), [exact.low, exact.high], atol=0.35 * error)


@pytest.mark.parametrize("total", [1, 12, 500])
def test_all_right_is_no_certainty(total: int) -> None:
    exact = binomtest(total, total).proportion_ci(0.95, "exact")
    assert share_interval(total, total) == pytest.approx([exact.low, 1.0])
    assert share_interval(0, total) == pytest.approx([0.0, 1 - exact.low])


def test_interval_of_a_mean_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(1.0, 2000)
    drawn = np.percentile(values[rng.integers(0, 2000, (2000, 2000))].mean(axis=1), [2.5, 97.5])
    error = values.std() / np.sqrt(2000)
    np.testing.assert_allclose(mean_interval(values), drawn, atol=0.25 * error)


def test_macro_intervals_are_those_of_images_drawn_anew() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(300) < 0.75, labels, rng.integers(0, 4, 300))
    drawn = []
    for _ in range(2000):
        chosen = rng.integers(0, 300, 300)
        drawn.append(list(macro_scores(labels[chosen], predicted[chosen], 4).values()))
    expected, spread = np.percentile(drawn, [2.5, 97.5], axis=0).T, np.std(drawn, axis=0)
    found = macro_intervals(count_confusions(labels, predicted, 4), 4)
    assert list(found) == ["macro_precision", "macro_recall", "macro_f1"]
    np.testing.assert_allclose(list(found.values()), expected, atol=0.25 * spread.max())


def test_drawing_in_parts_covers_as_many_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(200) % 5
    predicted = np.where(np.arange(200) % 7 == 0, 0, labels)
    cells = count_confusions(labels, predicted, 5)
    whole = macro_intervals(cells, 5)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 64)
    np.testing.assert_allclose(list(macro_intervals(cells, 5).values()), list(whole.values()), rtol=1e-12)


def test_macro_intervals_where_all_is_right_are_those_of_a_share() -> None:
    labels = np.arange(30) % 3
    assert set(map(tuple, macro_intervals(count_confusions(labels, labels, 3), 3).values())) == {
        tuple(share_interval(30, 30))
    }
