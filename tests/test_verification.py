from __future__ import annotations

import json

import numpy as np
import pytest

from featherlight.errors import DataError
from featherlight.verification import compare_outputs, explain_verification

CLASSES = ("a", "b", "c")


def answers(count: int, margin: float = 5.0) -> np.ndarray:
    """Logits of ``count`` images that name class 0 with so much margin."""
    logits = np.zeros((count, 3), np.float32)
    logits[:, 0] = margin
    return logits


def compare(reference, exported, labels=None, **options):
    paths = [f"{k}.png" for k in range(len(reference))]
    truth = None if labels is None else np.asarray(labels, np.int64)
    return compare_outputs(reference, exported, truth, paths, CLASSES, **options)


def flipped(logits: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` images named b instead."""
    other = logits.copy()
    other[:count, 1] = 9
    return other


def test_equal_outputs_pass() -> None:
    result = compare(answers(300), answers(300), np.zeros(300))
    assert (result.passed, result.agreement, result.max_diff, result.mean_diff) == (True, 1.0, 0.0, 0.0)
    assert (result.accuracy, result.reference_accuracy, result.thin, result.disagreements) == (1.0, 1.0, False, ())


def test_differences_are_measured_over_all_logits() -> None:
    other = answers(2)
    other[1, 2] += 0.3
    result = compare(answers(2), other)
    assert result.max_diff == pytest.approx(0.3, rel=1e-6)
    assert result.mean_diff == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(("images", "wrong", "passes"), [
    (10, 1, True),  # one image is always allowed
    (10, 2, False),
    (1999, 2, False),  # 99.89995 %
    (2000, 2, True),  # 99.9 % exactly
    (1000, 2, False),
    (3000, 3, True),
])  # fmt: skip
def test_float_must_agree_on_999_of_1000_images_or_all_but_one(images: int, wrong: int, passes: bool) -> None:
    result = compare(answers(images), flipped(answers(images), wrong))
    assert result.passed is passes
    assert result.agreement == pytest.approx(1 - wrong / images)
    assert len(result.disagreements) == wrong
    assert bool(result.problems) is not passes


@pytest.mark.parametrize(("margin", "passes"), [(0.0009, True), (0.0011, False)])
def test_near_ties_of_the_reference_do_not_count_but_are_listed(margin: float, passes: bool) -> None:
    result = compare(answers(300, margin), flipped(answers(300, margin), 5))
    assert result.passed is passes
    assert len(result.disagreements) == 5
    assert result.agreement == pytest.approx(1.0 if passes else 1 - 5 / 300)


def test_the_surest_disagreements_come_first_with_names_and_margin() -> None:
    reference = answers(3)
    reference[:, 0] = (3, 5, 4)
    found = compare(reference, flipped(reference, 3)).disagreements
    assert [(one.path, one.exported, one.reference) for one in found] == [
        ("1.png", "b", "a"), ("2.png", "b", "a"), ("0.png", "b", "a"),
    ]  # fmt: skip
    assert [one.margin for one in found] == [5, 4, 3]


@pytest.mark.parametrize(("images", "lost", "passes"), [
    (10, 1, True),
    (10, 2, False),
    (1000, 5, True),  # 0.5 points exactly
    (1000, 6, False),
    (100, 2, False),
])  # fmt: skip
def test_int8_may_lose_half_a_point_of_accuracy_or_one_image(images: int, lost: int, passes: bool) -> None:
    result = compare(answers(images), flipped(answers(images), lost), np.zeros(images), precision="int8")
    assert result.passed is passes
    assert result.accuracy == pytest.approx(1 - lost / images)
    assert result.reference_accuracy == 1.0


def test_int8_may_disagree_where_it_costs_no_accuracy() -> None:
    labels = np.zeros(100)
    labels[:10] = 2  # both are wrong there
    assert compare(answers(100), flipped(answers(100), 10), labels, precision="int8").passed
    assert not compare(answers(100), flipped(answers(100), 10), labels).passed


def test_int8_without_labels_is_held_to_the_models_answers() -> None:
    result = compare(answers(100), flipped(answers(100), 2), precision="int8")
    assert (result.passed, result.accuracy, result.reference_accuracy) == (False, None, None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["float", "int8"])
def test_outputs_that_are_no_numbers_fail_and_stay_json(value: float, precision: str) -> None:
    other = answers(300)
    other[7, 1] = value
    result = compare(answers(300), other, np.zeros(300), precision=precision)
    assert not result.passed
    assert "NaN or infinite outputs for 1 of 300 images" in result.problems[0]
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("count", "thin"), [(199, True), (200, False)])
def test_few_images_are_called_thin_evidence(count: int, thin: bool) -> None:
    result = compare(answers(count), answers(count))
    assert result.thin is thin
    assert any("thin evidence" in line for line in explain_verification(result)) is thin


def test_no_images_is_an_error() -> None:
    with pytest.raises(DataError, match="not one image"):
        compare(answers(0), answers(0))


def test_a_single_class_has_no_second_best() -> None:
    result = compare_outputs(np.ones((4, 1)), np.ones((4, 1)) + 0.1, None, list("abcd"), ("a",))
    assert result.passed


def test_json_has_the_fields_of_the_contract() -> None:
    row = json.loads(json.dumps(compare(answers(3), flipped(answers(3), 1), [0, 0, 0]).to_dict()))
    assert set(row) >= {
        "agreement", "max_diff", "mean_diff", "accuracy", "reference_accuracy", "num_images", "disagreements", "passed",
    }  # fmt: skip
    assert set(row["disagreements"][0]) == {"path", "exported", "reference", "margin"}
