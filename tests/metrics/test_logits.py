from __future__ import annotations

import numpy as np
import pytest

from featherlight.metrics import cross_entropy, most_likely, softmax
from featherlight.metrics.logits import log_sum_exp, squared_errors


def test_softmax_is_exp_over_sum() -> None:
    logits = np.array([[0.0, 1.0, -2.0], [3.0, 3.0, 3.0]])
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(logits, temperature=2.0), expected, rtol=1e-14)


def test_softmax_of_huge_logits_stays_finite() -> None:
    np.testing.assert_array_equal(softmax([[1e30, -1e30, 0.0]], temperature=0.05), [[1.0, 0.0, 0.0]])


def test_cross_entropy_is_mean_negative_log_probability() -> None:
    logits = np.array([[0.0, 1.0, -2.0], [0.5, 0.1, 0.2]], dtype=np.float32)
    expected = -np.log(softmax(logits, 1.7)[[0, 1], [2, 0]]).mean()
    assert cross_entropy(logits, [2, 0], temperature=1.7) == pytest.approx(expected, rel=1e-14)


def test_cross_entropy_of_a_certain_mistake_is_large_and_finite() -> None:
    assert cross_entropy([[1e4, 0.0]], [1]) == 1e4


def test_most_likely_is_the_maximum_of_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (50, 7))
    predicted, probability = most_likely(logits, 1.7)
    np.testing.assert_array_equal(predicted, softmax(logits, 1.7).argmax(axis=1))
    np.testing.assert_array_equal(probability, softmax(logits, 1.7).max(axis=1))


def test_log_sum_exp_of_huge_logits_stays_finite() -> None:
    np.testing.assert_allclose(
        log_sum_exp([[0.0, 0.0], [1e30, 0.0], [-1e4, -1e4]]), [np.log(2), 1e30, -1e4 + np.log(2)]
    )


def test_squared_errors_are_sums_over_classes() -> None:
    logits, labels = np.random.default_rng(0).normal(0, 3, (20, 5)), np.arange(20) % 5
    expected = ((softmax(logits, 1.4) - np.eye(5)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_errors(logits, labels, 1.4), expected, rtol=1e-12)
    np.testing.assert_allclose(squared_errors([[1e5, 0.0]], [1]), [2.0])
