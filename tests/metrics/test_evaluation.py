from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logit_samples import logits_and_labels, logits_that_say
from sklearn import metrics as sklearn_metrics

from featherlight.errors import DataError, FeatherlightError
from featherlight.metrics import (
    Evaluation,
    cross_entropy,
    evaluate_logits,
    fit_rule,
    known_scores,
    macro_scores,
    most_likely,
    softmax,
)
from featherlight.metrics import (
    logits as logit_functions,
)

CONTRACT_KEYS = [
    "model", "data", "split", "engine", "num_images", "classes", "top1", "top5", "loss", "macro_precision",
    "macro_recall", "macro_f1", "per_class", "confusion_matrix", "most_confused",
]  # fmt: skip
LATER_KEYS = [
    "temperature", "unreadable", "top1_interval", "intervals", "ece", "nll", "brier", "reliability", "reject",
    "mistakes", "corruptions", "tta",
]  # fmt: skip


def evaluate(logits: Any, labels: Any, classes: list[str] | None = None, **options: Any) -> Evaluation:
    names = classes or [f"class {i}" for i in range(np.shape(logits)[1])]
    return evaluate_logits(logits, labels, names, model="net", data="digits", split="test", engine="torch", **options)


def test_evaluation_of_a_small_case_by_hand() -> None:
    labels, predicted = [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 2, 2]
    result = evaluate(logits_that_say(predicted, 4), labels, ["ant", "bee", "cow", "dog"])
    assert result.num_images == 6
    assert result.top1 == 0.5
    assert result.confusion_matrix == [[1, 2, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert result.most_confused == [["ant", "bee", 2], ["bee", "cow", 1]]
    assert result.per_class["ant"] == {"precision": 1.0, "recall": 1 / 3, "f1": 0.5, "support": 3}
    assert result.per_class["dog"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert result.macro_f1 == pytest.approx((1 / 2 + 2 / 5 + 2 / 3) / 3, rel=1e-15)  # no image shows a dog


@given(logits_and_labels())
def test_evaluation_agrees_with_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    result, predicted, every = evaluate(logits, labels), logits.argmax(axis=1), np.arange(logits.shape[1])
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=0
    )
    rows = list(result.per_class.values())
    for key, expected in {"precision": precision, "recall": recall, "f1": f1, "support": support}.items():
        np.testing.assert_allclose([row[key] for row in rows], expected, rtol=1e-12)
    assert result.confusion_matrix == sklearn_metrics.confusion_matrix(labels, predicted, labels=every).tolist()
    assert result.top1 == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted), rel=1e-12)
    probabilities = softmax(logits)
    if probabilities[np.arange(len(labels)), labels].min() > 1e-15:  # below, scikit-learn clips
        expected_loss = sklearn_metrics.log_loss(labels, probabilities, labels=every)
        assert result.loss == pytest.approx(expected_loss, rel=1e-12, abs=1e-15)
    present = np.unique(labels)
    expected_f1 = sklearn_metrics.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert result.macro_f1 == pytest.approx(expected_f1, rel=1e-12)


@given(logits_and_labels())
def test_top5_counts_ties_in_class_order(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert evaluate(logits, labels).top5 == np.mean([label in row for label, row in zip(labels, best, strict=True)])


def test_most_confused_lists_ten_pairs_in_order() -> None:
    labels = np.repeat(np.arange(12), np.arange(1, 13))
    result = evaluate(logits_that_say(list((labels + 1) % 12), 12), labels)
    assert [count for _, _, count in result.most_confused] == list(range(12, 2, -1))
    assert result.most_confused[0] == ["class 11", "class 0", 12]


def test_temperature_changes_loss_and_nothing_else() -> None:
    logits, labels = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), [0, 0]
    plain, cooled = evaluate(logits, labels), evaluate(logits, labels, temperature=4.0)
    assert cooled.loss == cross_entropy(logits, labels, 4.0) != plain.loss
    assert (cooled.top1, cooled.per_class, cooled.temperature) == (plain.top1, plain.per_class, 4.0)


def test_json_holds_the_contract_and_comes_back_equal() -> None:
    unreadable = [("broken \udcff.png", "not an image")]  # a name that is no UTF-8
    logits = logits_that_say([0, 1, 1], 3).astype(np.float32)
    result = evaluate(
        logits, np.array([0, 1, 2]), ["猫", 'a "b"', "<c>"], temperature=np.float32(1.5), unreadable=unreadable
    )
    text = result.to_json()
    assert list(json.loads(text)) == [*CONTRACT_KEYS, *LATER_KEYS] == [f.name for f in fields(result)]
    assert Evaluation.from_json(text) == result
    assert text.encode("utf-8").decode("ascii").count("\n") == len(fields(result)) + 2


def test_json_with_fields_of_a_later_version_is_read() -> None:
    result = evaluate(logits_that_say([0, 1], 2), [0, 1])
    text = result.to_json().replace("{\n", '{\n  "of_later": 0.1,\n', 1)
    assert Evaluation.from_json(text) == result


def test_json_of_an_older_version_is_read() -> None:
    values = json.loads(evaluate(logits_that_say([0, 1], 2), [0, 1]).to_json())
    old = Evaluation.from_json(json.dumps({key: values[key] for key in CONTRACT_KEYS}))
    assert (old.top1, old.top1_interval, old.reliability, old.reject, old.mistakes) == (1.0, None, None, None, [])


def test_figures_about_probabilities_by_hand() -> None:
    logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    result = evaluate(logits, [0, 1, 1])
    assert result.nll == result.loss == pytest.approx(-np.log([0.9, 0.4, 0.8]).mean())
    assert result.brier == pytest.approx((2 * 0.1**2 + 2 * 0.6**2 + 2 * 0.2**2) / 3)
    assert result.ece == result.reliability["ece_after"] == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert list(result.intervals) == ["top5", "macro_precision", "macro_recall", "macro_f1", "nll", "brier"]
    assert result.reject is None


def test_rejection_says_what_is_kept_and_how_right_that_is() -> None:
    logits = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
    scores = known_scores(logits, "energy")
    rule = {"score": "energy", "threshold": float(scores[1:3].mean()), "target_false_reject_rate": 0.5}
    result = evaluate(logits, [0, 1, 0, 1], reject=rule)
    assert result.reject == {**rule, "kept": 0.5, "accuracy_of_kept": 0.5}
    nothing = evaluate(logits, [0, 1, 0, 1], reject={"score": "probability", "threshold": 1.5})
    assert (nothing.reject["kept"], nothing.reject["accuracy_of_kept"]) == (0.0, None)
    assert json.loads(nothing.to_json())["reject"]["accuracy_of_kept"] is None


@given(logits_and_labels())
def test_a_fitted_threshold_keeps_the_images_it_was_fitted_to(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    rule = fit_rule(logits, 0.1, 1.3)
    assert evaluate(logits, labels, temperature=1.3, reject=rule).reject["kept"] >= 0.9 - 1e-12


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x"}'])
def test_json_that_is_no_evaluation_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="featherlight evaluate"):
        Evaluation.from_json(text)


def test_no_images_are_an_error_that_names_split_and_data() -> None:
    with pytest.raises(DataError, match="test split of digits"):
        evaluate(np.zeros((0, 3)), np.zeros(0, dtype=int))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_broken_outputs_are_an_error_that_counts_them(bad: float) -> None:
    with pytest.raises(FeatherlightError, match="1 of 2 images"):
        evaluate([[0.0, 1.0], [0.0, bad]], [0, 1])


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 3], [-1, 0]])
def test_labels_that_do_not_fit_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="fit"):
        evaluate(np.zeros((2, 3)), labels)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_macro_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    present = np.unique(labels)
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=present, average="macro", zero_division=0
    )
    scores = macro_scores(labels, predicted, 5)
    assert list(scores.values()) == pytest.approx([precision, recall, f1], abs=1e-12)
    assert list(scores) == ["macro_precision", "macro_recall", "macro_f1"]


# ---- very many classes


@given(logits_and_labels())
def test_confusions_are_where_the_matrix_is_not_zero(sample: tuple[np.ndarray, np.ndarray]) -> None:
    result = evaluate(*sample)
    matrix = np.zeros_like(np.array(result.confusion_matrix))
    true, predicted, count = result.confusions()
    matrix[true, predicted] = count
    assert matrix.tolist() == result.confusion_matrix
    assert count.min() > 0


def test_matrix_of_more_than_a_thousand_classes_holds_what_is_not_zero() -> None:
    labels = np.array([0, 0, 5, 1000, 1000, 1000])
    result = evaluate(logits_that_say([0, 7, 5, 1000, 3, 3], 1001), labels)
    assert result.confusion_matrix == {
        "shape": [1001, 1001], "true": [0, 0, 5, 1000, 1000], "predicted": [0, 7, 5, 3, 1000], "count": [1, 1, 1, 2, 1],
    }  # fmt: skip
    assert [column.tolist() for column in result.confusions()] == list(result.confusion_matrix.values())[1:]
    assert result.most_confused == [["class 1000", "class 3", 2], ["class 0", "class 7", 1]]
    assert isinstance(evaluate(logits_that_say([0], 1000), [0]).confusion_matrix, list)
    assert Evaluation.from_json(result.to_json()) == result


def test_ten_thousand_classes_make_a_small_file() -> None:
    labels = np.random.default_rng(0).integers(0, 10_000, 300)
    text = evaluate(logits_that_say(list(np.roll(labels, 1)), 10_000), labels).to_json()
    assert len(text) < 2_000_000


@given(logits_and_labels(), st.integers(1, 30))
def test_images_measured_a_few_at_a_time_measure_the_same(sample: tuple[np.ndarray, np.ndarray], size: int) -> None:
    logits, labels = sample
    whole, likely = evaluate(logits, labels, temperature=1.3), most_likely(logits, 1.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logit_functions, "_AT_A_TIME", size)
        assert evaluate(logits, labels, temperature=1.3) == whole
        np.testing.assert_array_equal(most_likely(logits, 1.3), likely)
