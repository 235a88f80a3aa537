from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.metrics import evaluate_logits
from featherlight.report.class_rows import class_rows, wilson_interval


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),  # Newcombe 1998, "Two-sided confidence intervals for the single proportion"
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_is_the_published_one(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right / count, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_interval_holds_the_share_and_stays_within_0_and_1(count: int, part: float) -> None:
    share = round(part * count) / count
    low, high = wilson_interval(share, count)
    assert 0 <= low <= share <= high <= 1


def test_nothing_is_known_about_a_class_without_images() -> None:
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_precision_is_over_the_named_and_recall_over_the_shown() -> None:
    where = {"model": "m", "data": "d", "split": "test", "engine": "torch"}
    result = evaluate_logits(np.eye(2)[[0, 0, 0, 1]], np.array([0, 0, 1, 1]), ["a", "b"], **where)
    first, second = class_rows(result)
    assert (first.name, first.support, first.named, first.recall) == ("a", 2, 3, 1.0)
    assert first.precision_interval == wilson_interval(2 / 3, 3)
    assert first.recall_interval == wilson_interval(1.0, 2)
    assert (second.place, second.named, second.precision) == (2, 1, 1.0)
