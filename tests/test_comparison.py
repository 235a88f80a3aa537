from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from featherlight.comparison import (
    ComparedModel,
    compare_pairs,
    difference_interval,
    explain_comparison,
    holm,
    mcnemar,
    p_text,
)


def model(name: str, accuracy: float, latency_ms: float | None = 1.0, size_bytes: int = 1000) -> ComparedModel:
    interval = (accuracy - 0.01, accuracy + 0.01)
    return ComparedModel(
        name, name, "shufflenet_v2_x0_5", "torch", "float32", 32, accuracy, interval, 0.0, 0.1, size_bytes, 1, 1,
        latency_ms, None,
    )  # fmt: skip


def answers(*rights: str) -> tuple[np.ndarray, np.ndarray]:
    """Who is right on which image, ``1`` or ``0`` each; whoever is wrong names a class of its own."""
    right = np.array([[letter == "1" for letter in text] for text in rights])
    return right, np.where(right, 0, np.arange(1, len(rights) + 1)[:, None])


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 1), (0, 6), (3, 10), (10, 3), (200, 260), (5, 5)])
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    count = only_first + only_second
    expected = binomtest(only_first, count).pvalue if count else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_very_many_images_neither_overflows_nor_becomes_nothing() -> None:
    assert mcnemar(100_000, 100_300) == pytest.approx(binomtest(100_000, 200_300).pvalue, rel=1e-6)
    assert 0 <= mcnemar(0, 5000) < 1e-300


def test_holm_corrects_the_smallest_most_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_is_at_least_the_value_itself(values: list[float]) -> None:
    corrected = holm(values)
    assert all(before <= after <= 1 for before, after in zip(values, corrected, strict=True))
    for a, b in product(range(len(values)), repeat=2):
        assert values[a] >= values[b] or corrected[a] <= corrected[b]


def test_interval_of_a_difference_is_that_of_resampled_images() -> None:
    gaps = np.array([1] * 30 + [-1] * 10 + [0] * 160)
    drawn = np.random.default_rng(1).choice(gaps, (4000, len(gaps))).mean(axis=1)
    assert difference_interval(10, 30, 200) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.006)


def test_models_that_never_differ_could_still_differ_on_other_images() -> None:
    low, high = difference_interval(0, 0, 100)
    assert high == -low == pytest.approx(1 - 0.025**0.01)


def test_each_model_is_compared_with_each_and_corrected_for_it() -> None:
    right, named = answers("1" * 8 + "0" * 12, "1" * 18 + "0" * 2, "1" * 20)
    pairs = compare_pairs(["a", "b", "c"], right, named)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(pair.only_first, pair.only_second, pair.disagreements) for pair in pairs] == [
        (0, 10, 12), (0, 12, 12), (0, 2, 2)
    ]  # fmt: skip
    assert [pair.difference for pair in pairs] == pytest.approx([0.5, 0.6, 0.1])
    assert [pair.p for pair in pairs] == pytest.approx([2 * 0.5**10, 2 * 0.5**12, 0.5])
    assert [pair.p_corrected for pair in pairs] == pytest.approx([2 * 2 * 0.5**10, 3 * 2 * 0.5**12, 0.5])
    assert [pair.real for pair in pairs] == [True, True, False]


def test_two_wrong_answers_may_be_the_same_answer() -> None:
    right = np.array([[True, False, False], [True, False, False]])
    (pair,) = compare_pairs(["a", "b"], right, np.array([[0, 1, 1], [0, 1, 2]]))
    assert (pair.disagreements, pair.difference, pair.p) == (1, 0.0, 1.0)


def test_real_difference_is_told_from_the_better_ones_side_with_what_it_costs() -> None:
    right, named = answers("1" * 20, "1" * 8 + "0" * 12)
    pairs = compare_pairs(["big", "small"], right, named)
    text = explain_comparison([model("big", 1.0, 4.0, 3000), model("small", 0.4, 2.0)], pairs)
    assert text.startswith("big is better than small by 60.0 points (")
    assert text.endswith("), p = 0.00049; big has 2x the latency and 3x the size.")


def test_difference_that_may_be_luck_is_called_none_and_the_cheaper_one_is_named() -> None:
    right, named = answers("1" * 20, "1" * 19 + "0")
    text = explain_comparison(
        [model("big", 1.0, 4.0), model("small", 0.95, 1.0)], compare_pairs(["big", "small"], right, named)
    )
    assert text.startswith("No real difference: big is ahead of small by 5.0 points (")
    assert text.endswith("p = 1, which may be luck; small has 25% of the latency and 1x the size.")


def test_same_answers_and_the_same_number_of_right_ones_are_told_apart() -> None:
    models = [model("a", 0.5, None), model("b", 0.5, None)]
    right, named = answers("10", "10")
    named[:] = named[0]
    assert "name every image alike" in explain_comparison(models, compare_pairs(["a", "b"], right, named))
    assert "right equally often" in explain_comparison(models, compare_pairs(["a", "b"], *answers("10", "01")))


def test_of_several_models_the_best_the_beaten_and_the_equals_are_named() -> None:
    right, named = answers("1" * 20, "1" * 19 + "0", "1" * 8 + "0" * 12)
    models = [model("a", 1.0, 4.0), model("b", 0.95, 1.0), model("c", 0.4, 1.0)]
    text = explain_comparison(models, compare_pairs(["a", "b", "c"], right, named))
    assert text.startswith(
        "a is the most accurate, 100.0%, and really better than c; it cannot be told apart from b, 5.0 points behind ("
    )
    assert text.endswith("; of these b has 25% of the latency and 1x the size.")


def test_tiny_p_values_are_not_written_as_nothing() -> None:
    assert p_text(1e-12) == "p < 0.0001"
    assert p_text(0.0312) == "p = 0.031"
