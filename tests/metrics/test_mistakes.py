from __future__ import annotations

import json

import numpy as np
import pytest

from featherlight.metrics import mistakes as mistakes_module
from featherlight.metrics import most_likely, softmax
from featherlight.metrics.mistakes import list_mistakes

CLASSES = ["ant", "bee", "cow", "dog", "eel", "fox"]


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (60, 6)).astype(np.float32), rng.integers(0, 6, 60), [f"{k}.png" for k in range(60)]


def test_worst_are_wrong_and_surest_first_and_unsure_are_the_least_certain_others(
    sample: tuple[np.ndarray, np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels, paths = sample
    monkeypatch.setattr(mistakes_module, "MAX_OF_KIND", 10)
    rows, places = list_mistakes(logits, labels, paths, CLASSES, 1.5)
    kinds = [row["kind"] for row in rows]
    num_pairs = len(rows) - 20
    assert kinds == ["worst"] * 10 + ["pair"] * num_pairs + ["unsure"] * 10
    predicted, confidence = most_likely(logits, 1.5)
    wrong = sorted(np.flatnonzero(predicted != labels), key=lambda k: -confidence[k])
    assert places[:10].tolist() == wrong[:10]
    rest = sorted(set(range(60)) - set(places[:-10].tolist()), key=lambda k: confidence[k])
    assert places[-10:].tolist() == rest[:10]


def test_most_confused_pairs_have_images_that_are_not_among_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes_module, "MAX_OF_KIND", 2)
    labels = np.zeros(20, np.int64)
    logits = np.zeros((20, 6), np.float32)
    logits[:2, 5] = 9.0  # the worst
    logits[2:12, 1] = np.linspace(3, 5, 10)  # ants taken for bees, ten times
    logits[12, 2] = 1.0
    logits[13:, 0] = 8.0
    rows, places = list_mistakes(logits, labels, [str(k) for k in range(20)], CLASSES, 1.0)
    of_pairs = [(row["predicted"], place) for row, place in zip(rows, places, strict=True) if row["kind"] == "pair"]
    assert of_pairs == [("bee", 11), ("bee", 10), ("bee", 9), ("bee", 8), ("bee", 7), ("cow", 12)]
    assert len(set(places.tolist())) == len(places)


def test_rows_say_what_the_image_is_and_what_it_was_taken_for(sample: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    logits, labels, paths = sample
    rows, places = list_mistakes(logits, labels, paths, CLASSES, 1.5)
    assert json.loads(json.dumps(rows)) == rows
    for row, place in zip(rows, places, strict=True):
        probabilities = softmax(logits[[place]], 1.5)[0]
        assert (row["path"], row["true"]) == (paths[place], CLASSES[labels[place]])
        assert [row["predicted"], row["probability"]] == row["top"][0]
        assert [p for _, p in row["top"]] == pytest.approx(sorted(probabilities, reverse=True)[:5])


def test_model_that_is_always_right_has_unsure_images_only() -> None:
    rows, places = list_mistakes(np.eye(3) * [[3.0], [1.0], [2.0]], np.arange(3), ["a", "b", "c"], CLASSES[:3], 1.0)
    assert [(row["path"], row["kind"]) for row in rows] == [("b", "unsure"), ("c", "unsure"), ("a", "unsure")]
    assert places.tolist() == [1, 2, 0]
