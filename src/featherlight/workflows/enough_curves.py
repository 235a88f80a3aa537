"""From the answers of networks trained on parts of the data to learning curves, forecasts and gains, with intervals.

Errors of learners fall about as a power of the number of images (Cortes et al. 1993; Hestness et al. 2017). Three
points fix the exponent; no forecast promises more than the last doubling brought, since such curves only flatten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.metrics.intervals import LEVEL
from featherlight.sources.findings.enough import CurvePoint, Gain

Floats = NDArray[np.float64]

RESAMPLES = 1000
_DRAWN_AT_MOST = 2**25  # weights of images; of more images, fewer resamples
_LEANING = 5.0  # images' worth by which a class leans towards the mean of all


@dataclass(frozen=True)
class Trial:
    """All networks, trained on parts of the same images and measured on the same held-out ones.

    Attributes:
        sizes: images that each part has, (P,), ascending.
        named: what each network says of each held-out image, (networks, P, M).
        labels: their classes (M,).
        suggested: the class that doubts of labels suggest for them, (M,); -1: no doubt.
        train_accuracy: of each on (some of) the images it was trained on, (networks, P).
        class_sizes: images of each class in the largest part, (K,).
    """

    sizes: NDArray[np.int64]
    named: NDArray[np.int64]
    labels: NDArray[np.int64]
    suggested: NDArray[np.int64]
    train_accuracy: Floats
    class_sizes: NDArray[np.int64]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(networks, P, M)."""
        return np.asarray(self.named != self.labels)

    @property
    def mislabelled(self) -> NDArray[np.bool_]:
        """Held-out images that the first network, with all images, names as doubts of labels suggest (M,)."""
        return np.asarray(self.named[0, -1] == self.suggested)


@dataclass(frozen=True)
class Curves:
    """Errors, as they are and resampled.

    Attributes:
        sizes: images of each part (P,), in the mean of the trials.
        errors: (networks, P).
        drawn: the same of resampled trials and images, (B, networks, P).
        mislabelled: fraction of held-out images, see :class:`Trial`.
        drawn_mislabelled: (B,).
    """

    sizes: Floats
    errors: Floats
    drawn: Floats
    mislabelled: float
    drawn_mislabelled: Floats

    def point(self, network: int, part: int, train_accuracy: float) -> CurvePoint:
        """What was measured."""
        low, high = _interval(1 - self.drawn[:, network, part])
        accuracy = float(1 - self.errors[network, part])
        return CurvePoint(round(self.sizes[part]), accuracy, low, high, train_accuracy)

    def forecast(self, network: int) -> CurvePoint:
        """With twice the images."""
        rise = more_photos(self.errors[network])
        risen = more_photos(self.drawn[:, network])
        low, high = _interval(1 - self.drawn[:, network, -1] + risen)
        return CurvePoint(round(2 * self.sizes[-1]), float(1 - self.errors[network, -1] + rise), low, high)

    def more_photos(self) -> Gain:
        """Of the small network, with twice the images."""
        return _gain(float(more_photos(self.errors[0])), more_photos(self.drawn[:, 0]))

    def bigger_network(self) -> Gain:
        """Of the larger network, with all images."""
        return _gain(float(self.errors[0, -1] - self.errors[1, -1]), self.drawn[:, 0, -1] - self.drawn[:, 1, -1])

    def cleaner_labels(self) -> Gain:
        """Of images that would count as right."""
        return _gain(self.mislabelled, self.drawn_mislabelled)


def measure_curves(trials: Sequence[Trial], seed: int = 0) -> Curves:
    """Errors over all trials; resampled are trials, and in each its held-out images."""
    generator = np.random.default_rng(seed)
    total = sum(len(trial.labels) for trial in trials)
    count = int(min(RESAMPLES, max(100, _DRAWN_AT_MOST // total)))
    chosen = generator.multinomial(len(trials), np.full(len(trials), 1 / len(trials)), count)  # (B, R)
    shape = trials[0].named.shape[:2]
    wrong, doubted = np.zeros((count, *shape)), np.zeros(count)
    for number, trial in enumerate(trials):
        images = len(trial.labels)
        weights = generator.multinomial(images, np.full(images, 1 / images), count) * chosen[:, number, None]
        wrong += (weights @ trial.wrong.reshape(-1, images).T.astype(np.float64)).reshape(count, *shape)
        doubted += weights @ trial.mislabelled
    drawn_images = chosen @ np.array([len(trial.labels) for trial in trials])
    return Curves(
        sizes=np.mean([trial.sizes for trial in trials], axis=0),
        errors=sum((trial.wrong.sum(axis=2) for trial in trials), np.zeros(shape)) / total,
        drawn=wrong / drawn_images[:, None, None],
        mislabelled=sum(int(trial.mislabelled.sum()) for trial in trials) / total,
        drawn_mislabelled=doubted / drawn_images,
    )


def exponent(errors: Floats) -> float:
    """Of the power law through errors at doubling sizes (P,); at least 0."""
    return float(-np.log2(_halving(errors)))


def more_photos(errors: Floats) -> Floats:
    """By how much the error falls with twice the images (...), from errors at doubling sizes (..., P)."""
    expected = errors[..., -1] * (1 - _halving(errors))
    last = np.maximum(0.0, errors[..., -2] - errors[..., -1])
    return np.asarray(np.minimum(expected, last))


def _halving(errors: Floats) -> Floats:
    """What doubling the images multiplies the error by: a straight line through logarithms, equal steps apart."""
    logs = np.log(np.maximum(errors, 1e-4))
    steps = np.arange(errors.shape[-1]) - (errors.shape[-1] - 1) / 2
    slope = (logs * steps).sum(axis=-1) / (steps**2).sum()
    return np.asarray(np.exp(np.minimum(0.0, slope)))


def class_gains(trials: Sequence[Trial]) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Of each class: accuracy of the small network (NaN: no held-out image), gain with twice the images, size, (K,)."""
    num_classes = len(trials[0].class_sizes)
    labels = np.concatenate([trial.labels for trial in trials])
    wrong = np.concatenate([trial.wrong[0] for trial in trials], axis=1)  # (P, M)
    counts = np.bincount(labels, minlength=num_classes)
    found = np.stack([np.bincount(labels, row, num_classes) for row in wrong], axis=1)  # (K, P)
    leaning = (found + _LEANING * wrong.mean(axis=1)) / (counts[:, None] + _LEANING)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = np.where(counts > 0, 1 - found[:, -1] / counts, np.nan)
    sizes = np.mean([trial.class_sizes for trial in trials], axis=0).round().astype(np.int64)
    return accuracy, more_photos(leaning), sizes


def _gain(value: float, drawn: Floats) -> Gain:
    return Gain(value, *_interval(drawn))


def _interval(drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
