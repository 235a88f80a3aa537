from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from logit_samples import logits_and_labels, logits_that_say

from featherlight.metrics import calibration, cross_entropy, fit_temperature, most_likely, softmax
from featherlight.metrics.calibration import BINS, calibration_error, reliability


@given(logits_and_labels())
def test_fitted_temperature_is_as_good_as_a_fine_grid(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature <= 20
    loss = cross_entropy(logits, labels, temperature)
    assert loss <= cross_entropy(logits, labels)
    if len(labels) > 1 and np.any(logits.argmax(axis=1) != labels):
        grid = np.geomspace(0.05, 20, 300)
        assert loss <= min(cross_entropy(logits, labels, t) for t in grid) + 1e-9


def test_fitted_temperature_undoes_a_known_scale() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (5000, 6))
    labels = np.array([rng.choice(6, p=row) for row in softmax(honest)])
    reference = fit_temperature(honest, labels)
    assert reference == pytest.approx(1.0, abs=0.05)  # sampling noise of 5000 labels
    assert fit_temperature(3 * honest, labels) == pytest.approx(3 * reference, rel=1e-9)


def test_temperature_stays_one_without_anything_to_learn_from() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0
    assert fit_temperature([[0.0, 2.0]], [0]) == 1.0
    assert fit_temperature(np.zeros((4, 3)), [0, 1, 2, 0]) == 1.0  # equal logits: no temperature changes anything
    assert fit_temperature(logits_that_say([0, 1, 2], 3), [0, 1, 2]) == 1.0  # all right: would go to zero


def test_temperature_of_a_model_worse_than_chance_stops_at_the_upper_end() -> None:
    assert fit_temperature(logits_that_say([1, 0, 1], 2), [0, 1, 0]) == pytest.approx(20.0)


def test_temperature_of_very_many_logits_is_fitted_on_some(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 5, (200, 7)), rng.integers(0, 7, 200)
    expected = fit_temperature(logits, labels)
    monkeypatch.setattr(calibration, "_FITTED_ON", 200 * 7)
    assert fit_temperature(np.repeat(logits, 2, axis=0), np.repeat(labels, 2)) == expected  # one of each pair


@given(logits_and_labels())
def test_bins_hold_each_image_where_its_confidence_is(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    found = reliability(logits, labels, 1.6)
    for key, temperature in (("bins", 1.6), ("bins_before", 1.0)):
        predicted, confidence = most_likely(logits, temperature)
        assert sum(entry["count"] for entry in found[key]) == len(labels)
        for entry in found[key]:
            inside = (confidence >= entry["low"]) & ((confidence < entry["high"]) | (entry["high"] == 1))
            if entry["count"] == 0:
                assert (entry["confidence"], entry["accuracy"]) == (None, None)
                continue
            assert entry["low"] - 1e-12 <= entry["confidence"] <= entry["high"] + 1e-12
            if entry["count"] == inside.sum():  # on a bin's border the last digit decides
                assert entry["accuracy"] == pytest.approx((predicted == labels)[inside].mean(), abs=1e-12)


def test_calibration_error_by_hand() -> None:
    logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    found = reliability(logits, [0, 0, 0, 1, 1], 1.0)
    assert found["ece_after"] == found["ece_before"] == pytest.approx((4 * 0.15 + 0.3) / 5)
    assert found["binning"] == "15 equal-width bins of the top probability"
    assert [entry["count"] for entry in found["bins"]] == [0] * 10 + [1, 0, 0, 4, 0]


def test_honest_probabilities_have_a_small_error_and_sharpened_ones_a_large() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 6))
    labels = np.array([rng.choice(6, p=row) for row in softmax(honest)])
    found = reliability(3 * honest, labels, 3.0)
    assert found["ece_after"] < 0.01 < 0.1 < found["ece_before"]
    assert calibration_error(found["bins"]) == found["ece_after"]
    assert len(found["bins"]) == BINS


def test_certain_answers_lie_in_the_last_bin() -> None:
    (*others, last) = reliability([[1e4, 0.0]], [0], 1.0)["bins"]
    assert (last["count"], last["confidence"], last["accuracy"]) == (1, 1.0, 1.0)
    assert not any(entry["count"] for entry in others)
