"""Is it the data or the network? What learning curves say, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Answer = Literal["more_photos", "bigger_network", "cleaner_labels", "enough", "unknown"]


@dataclass(frozen=True)
class Gain:
    """By how much the accuracy on new images would rise.

    Attributes:
        gain: a fraction.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class CurvePoint:
    """What networks reach that were trained on so many images.

    Attributes:
        images: trained on, in the mean of the repeats.
        accuracy: on held-out images, a fraction.
        low: lower end of its 95 % interval.
        high: upper end.
        train_accuracy: on the images that they were trained on; None for a forecast.
    """

    images: int
    accuracy: float
    low: float
    high: float
    train_accuracy: float | None = None


@dataclass(frozen=True)
class LearningCurve:
    """One network on more and more images.

    Attributes:
        network: registered name.
        params: parameters.
        macs: multiply-adds an image.
        points: with 25, 50 and 100 % of the images.
        exponent: of the power law by which the error falls; doubling the images divides it by 2 to this power.
        forecast: with twice the images.
    """

    network: str
    params: int
    macs: int
    points: tuple[CurvePoint, ...]
    exponent: float
    forecast: CurvePoint


@dataclass(frozen=True)
class ClassNeed:
    """What more photos of a class would do for it.

    Attributes:
        name: of the class.
        images: trained on.
        accuracy: on its held-out images.
        gain: of that accuracy, with twice the images; small classes lean towards the mean of all.
    """

    name: str
    images: int
    accuracy: float
    gain: float


@dataclass(frozen=True)
class Enough:
    """The answer and its evidence: the key ``enough`` of ``check.json``.

    Attributes:
        answer: ``more_photos``, ``bigger_network``, ``cleaner_labels``, ``enough``: none of them would bring much, or
            ``unknown``.
        sentence: the answer for people.
        gains: what each would bring: ``more_photos`` twice as many, ``bigger_network`` the larger of the two,
            ``cleaner_labels`` those that were doubted; None: not looked for.
        curves: of the small and the larger network; empty where nothing could be measured.
        classes: those that need photos most first.
        evidence: what else was seen, in sentences.
        caveats: what limits the answer, likewise.
        num_held_out: images that the networks were measured on, over all repeats.
        repeats: how often, with other images held out and another choice of those to train on.
        input_size: side of the networks' input, pixels.
        epochs: that every network was trained for, counted in all images; those with fewer images see them more often.
        usual_epochs: that training would choose.
        seconds: that it took.
        budget_s: that it might take.
    """

    answer: Answer
    sentence: str
    gains: Mapping[Answer, Gain | None]
    curves: tuple[LearningCurve, ...] = ()
    classes: tuple[ClassNeed, ...] = ()
    evidence: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    num_held_out: int = 0
    repeats: int = 0
    input_size: int = 0
    epochs: int = 0
    usual_epochs: int = 0
    seconds: float = 0.0
    budget_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
