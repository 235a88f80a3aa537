"""Which images are worth a look: those named wrongly with the most confidence, and those of the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.logits import Ints, most_likely, softmax

MAX_OF_KIND = 100
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
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_OF_KIND]
    others = np.setdiff1d(np.arange(len(labels)), worst)
    unsure = others[np.argsort(confidence[others], kind="stable")][:MAX_OF_KIND]
    places = np.concatenate([worst, unsure])
    kinds = ["worst"] * len(worst) + ["unsure"] * len(unsure)
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


def _top(logits: NDArray[Any], classes: Sequence[str], temperature: float) -> list[list[Any]]:
    (probabilities,) = softmax(logits[None], temperature)
    order = np.argsort(-probabilities, kind="stable")[:TOP_LISTED]
    return [[classes[k], float(probabilities[k])] for k in order]
