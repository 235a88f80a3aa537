from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from featherlight.metrics import accepts, area_under_roc, fit_rule, fit_to_known, fit_to_unknown, known_scores, softmax

# Few different values, so that ties are frequent.
scores = st.lists(
    st.sampled_from([-3.0, 0.0, 0.5, 0.25, 1.0, 7.0, 1e6]) | st.floats(-100, 100), min_size=1, max_size=50
)
rates = st.floats(0, 0.999)


def test_energy_is_log_sum_exp_of_the_logits_and_probability_the_highest() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (30, 6)).astype(np.float32)
    np.testing.assert_allclose(known_scores(logits, "energy", 3.0), logsumexp(logits.astype(float), axis=1), rtol=1e-12)
    np.testing.assert_allclose(known_scores(logits, "probability", 3.0), softmax(logits, 3.0).max(axis=1), rtol=1e-12)


@given(scores, rates)
def test_threshold_for_known_images_rejects_at_most_the_rate(values: list[float], rate: float) -> None:
    threshold = fit_to_known(values, rate)
    rejected = np.sum(np.array(values) < threshold)
    assert rejected <= rate * len(values) + 1e-6
    smallest_kept = min(value for value in values if value >= threshold)
    more = np.sum(np.array(values) <= smallest_kept)  # no higher threshold would do
    assert more > rate * len(values) - 1e-6


@given(scores, rates)
def test_threshold_for_unknown_images_accepts_at_most_the_rate(values: list[float], rate: float) -> None:
    threshold = fit_to_unknown(values, rate)
    assert np.sum(np.array(values) >= threshold) <= rate * len(values) + 1e-6
    below = [value for value in values if value < threshold]
    assert below
    assert np.sum(np.array(values) >= max(below)) > rate * len(values) - 1e-6  # no lower threshold would do


@given(scores, rates, rates)
def test_thresholds_move_with_the_rate(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert fit_to_known(values, low) <= fit_to_known(values, high)
    assert fit_to_unknown(values, low) >= fit_to_unknown(values, high)


@given(scores, st.floats(0, 0.999))
def test_small_differences_between_runtimes_reject_no_other_image(values: list[float], rate: float) -> None:
    distinct = np.unique(values)
    if len(distinct) > 1 and np.diff(distinct).min() < 1e-3:
        return
    noise = np.random.default_rng(0).uniform(-1e-5, 1e-5, len(values))
    threshold = fit_to_known(values, rate)
    np.testing.assert_array_equal(np.array(values) >= threshold, np.array(values) + noise >= threshold)


@given(scores, scores)
def test_area_under_roc_is_that_of_scikit_learn(known: list[float], unknown: list[float]) -> None:
    labels = [1] * len(known) + [0] * len(unknown)
    assert area_under_roc(known, unknown) == pytest.approx(roc_auc_score(labels, known + unknown), abs=1e-12)


def test_rule_says_how_it_was_fitted_and_rate_0_is_none() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (200, 6))
    rule = fit_rule(logits, 0.05, 1.5, "probability")
    assert rule is not None
    assert {key: value for key, value in rule.items() if key != "threshold"} == {
        "score": "probability", "target_false_reject_rate": 0.05, "fitted_on": "val", "num_images": 200,
    }  # fmt: skip
    assert np.sum(~accepts(logits, rule, 1.5)) == 10
    assert fit_rule(logits, 0, 1.5) is None
    assert fit_rule(np.full((3, 2), np.nan), 0.1, 1.5) is None  # of a broken network nothing is learnt
