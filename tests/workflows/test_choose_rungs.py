from __future__ import annotations

import doctest
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.workflows import choose_rungs
from featherlight.workflows.choose_rungs import KEEP, rung_end, rung_sizes, rung_work


@given(st.integers(1, 200))
def test_each_round_has_about_a_third_and_the_last_one_network(count: int) -> None:
    sizes = rung_sizes(count)
    assert sizes[0] == count
    assert sizes[-1] == 1
    assert all(later < earlier for earlier, later in pairwise(sizes))
    assert all(abs(later - earlier / KEEP) <= 1 for earlier, later in pairwise(sizes))


@given(st.integers(1, 60), st.floats(1, 1e5))
def test_a_race_that_goes_as_planned_uses_its_time_up(count: int, time_s: float) -> None:
    sizes, left, before = rung_sizes(count), time_s, 0.0
    ends = []
    for number, size in enumerate(sizes):
        end = rung_end(sizes, number, before, left)
        left -= size * (end - before)
        before = end
        ends.append(end)
    assert left == pytest.approx(0, abs=1e-6 * time_s)
    assert all(later == pytest.approx(KEEP * earlier) for earlier, later in pairwise(ends))


@given(st.integers(2, 60))
def test_work_is_what_the_rounds_cost(count: int) -> None:
    sizes = rung_sizes(count)
    assert rung_end(sizes, 0, 0.0, sum(rung_work(sizes))) == pytest.approx(1)


def test_time_that_was_lost_is_taken_from_the_rounds_that_are_left() -> None:
    planned = rung_end([3, 1], 1, 10.0, 20.0)
    assert planned == 30.0
    assert rung_end([3, 1], 1, 10.0, 15.0) == 25.0


def test_examples_in_the_code_hold() -> None:
    assert doctest.testmod(choose_rungs).failed == 0
