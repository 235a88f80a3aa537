"""Logits to probabilities, losses and ranks; many images or classes a part at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AT_A_TIME = 2**22  # logits in float64, 32 MB


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities of shape (N, K) from logits (N, K); rows sum to one however large the logits are."""
    exponentials = np.exp(shifted(logits) / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def most_likely(logits: ArrayLike, temperature: float = 1.0) -> tuple[Ints, Floats]:
    """The likeliest class of each image, (N,), and its probability; without all the others' in memory at once."""
    scores = np.asarray(logits)
    probability = by_rows(lambda block, _: 1 / np.exp(shifted(block) / temperature).sum(axis=1), scores)
    return scores.argmax(axis=1), probability


def log_sum_exp(logits: ArrayLike) -> Floats:
    """The logarithm of the sum of ``exp(logits)``, (N,), however large they are."""
    return by_rows(lambda block, _: block.max(axis=1) + np.log(np.exp(shifted(block)).sum(axis=1)), np.asarray(logits))


def cross_entropy(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood, in nats, of ``labels`` (N,) under ``softmax(logits, temperature)``."""
    return float(np.mean(losses(logits, labels, temperature)))


def losses(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> Floats:
    """The same of each image, (N,)."""
    return by_rows(partial(_losses, temperature), np.asarray(logits), np.asarray(labels))


def squared_errors(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> Floats:
    """Squared distance of the probabilities from a one at the true class, (N,): the Brier score of each image."""
    return by_rows(partial(_squared_errors, temperature), np.asarray(logits), np.asarray(labels))


def by_rows(
    measure: Callable[[NDArray[Any], Ints], NDArray[Any]], logits: NDArray[Any], labels: Ints | None = None
) -> NDArray[Any]:
    """Measures a number an image, some images at a time: in float64, and for many classes, all would not fit."""
    step = max(1, _AT_A_TIME // max(1, logits.shape[1]))
    truth = np.zeros(len(logits), np.int64) if labels is None else labels
    starts = range(0, max(1, len(logits)), step)
    return np.concatenate([measure(logits[k : k + step], truth[k : k + step]) for k in starts])


def shifted(logits: ArrayLike) -> Floats:
    """Logits whose largest of a row is 0: exp cannot overflow."""
    scores = np.asarray(logits, dtype=np.float64)
    return np.asarray(scores - scores.max(axis=1, keepdims=True))


def of_label(scores: Floats, labels: Ints) -> Floats:
    """The true class's number in each row, (N,)."""
    return np.asarray(np.take_along_axis(scores, labels[:, None], axis=1)[:, 0])


def rank_of_label(scores: Floats, labels: Ints) -> Ints:
    """How many classes stand before the true one, (N,): the larger scores, and equal ones earlier in order."""
    own = of_label(scores, labels)[:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & earlier)).sum(axis=1))


def _losses(temperature: float, logits: Floats, labels: Ints) -> Floats:
    scaled = shifted(logits) / temperature
    return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - of_label(scaled, labels))


def _squared_errors(temperature: float, logits: Floats, labels: Ints) -> Floats:
    probabilities = softmax(logits, temperature)
    return np.asarray((probabilities**2).sum(axis=1) - 2 * of_label(probabilities, labels) + 1)
