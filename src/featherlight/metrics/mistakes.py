"""Which images are worth a look: named wrongly with the most confidence, of the most confused pairs, of the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.classes import MOST_CONFUSED, count_confusions
from featherlight.metrics.logits import Ints, most_likely, softmax

MAX_OF_KIND = 100
MAX_OF_PAIR = 5  # beside those among the worst
TOP_LISTED = 5


def list_mistakes(
    logits: NDArray[Any], labels: Ints, paths: Sequence[str], classes: Sequence[str], temperature: float
) -> tuple[list[dict[str, Any]], Ints]:
    """The field ``mistakes`` of an evaluation, and the place (N,) of each of its rows among the images.

    Args:
        logits: (N, K).
        labels: true class indices (N,).
        paths: names of the images (N).
        classes: names (K).
        temperature: of the probabilities.
    """
    predicted, confidence = most_likely(logits, temperature)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
    worst = surest[:MAX_OF_KIND]
    pairs = _of_pairs(surest[MAX_OF_KIND:], labels, predicted, len(classes))
    others = np.setdiff1d(np.arange(len(labels)), np.concatenate([worst, pairs]))
    unsure = others[np.argsort(confidence[others], kind="stable")][:MAX_OF_KIND]
    places = np.concatenate([worst, pairs, unsure])
    kinds = ["worst"] * len(worst) + ["pair"] * len(pairs) + ["unsure"] * len(unsure)
    rows = [
        {
            "path": paths[place],
            "true": classes[labels[place]],
            "predicted": classes[predicted[place]],
            "probability": float(confidence[place]),
            "top": _top(logits[place], classes, temperature),
            "kind": kind,
        }
        for place, kind in zip(places, kinds, strict=True)
    ]
    return rows, places


def _of_pairs(surest: Ints, labels: Ints, predicted: Ints, num_classes: int) -> Ints:
    """Of each of the most confused pairs some of the images in ``surest``, in that order."""
    wrong = labels != predicted
    true, said, count = count_confusions(labels[wrong], predicted[wrong], num_classes)
    chosen = [
        surest[(labels[surest] == true[k]) & (predicted[surest] == said[k])][:MAX_OF_PAIR]
        for k in np.argsort(-count, kind="stable")[:MOST_CONFUSED]
    ]
    return np.concatenate([np.zeros(0, np.int64), *chosen])


def _top(logits: NDArray[Any], classes: Sequence[str], temperature: float) -> list[list[Any]]:
    (probabilities,) = softmax(logits[None], temperature)
    order = np.argsort(-probabilities, kind="stable")[:TOP_LISTED]
    return [[classes[k], float(probabilities[k])] for k in order]
