"""From learning curves to one sentence: more photos, a bigger network, cleaner labels, or nothing of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherlight.phrases import joined, phrase
from featherlight.sources.findings.enough import Answer, ClassNeed, Enough, Gain, LearningCurve
from featherlight.workflows.enough_curves import Curves, Floats, Trial, class_gains, exponent, measure_curves

WORTH = 0.005  # of accuracy; less is not worth anybody's work
FEW_WRONG = 0.03  # errors; with more, "enough" would be no answer
LEAST_TRAINED = 0.25  # of the usual length; networks trained for less say nothing about data
CLASSES_NAMED = 5


@dataclass(frozen=True)
class Setting:
    """How the networks were trained.

    Attributes:
        networks: name, parameters and multiply-adds of the small and the larger one.
        classes: names, by label.
        input_size: side of their input, pixels.
        epochs: of training, counted in all images.
        usual_epochs: that training would choose.
        seconds: that it took.
        budget_s: that it might take.
        labels_judged: whether wrong labels were looked for.
        from_scratch: whether training would start from pretrained weights, and these did not.
    """

    networks: tuple[tuple[str, int, int], tuple[str, int, int]]
    classes: tuple[str, ...]
    input_size: int
    epochs: int
    usual_epochs: int
    seconds: float
    budget_s: float
    labels_judged: bool
    from_scratch: bool

    @property
    def trained(self) -> float:
        """Part of the usual length."""
        return min(1.0, self.epochs / self.usual_epochs)

    @property
    def usual_time(self) -> str:
        """What would allow the usual length, as an option."""
        return f"--time {max(1, round(self.budget_s / self.trained / 60))}m"

    @property
    def times(self) -> str:
        """How much larger the larger network is."""
        return f"{self.networks[1][2] / self.networks[0][2]:.2g}"


def conclude(trials: Sequence[Trial], setting: Setting) -> Enough:
    """The answer and its evidence.

    Args:
        trials: at least one.
        setting: how they were made.
    """
    curves = measure_curves(trials)
    gains: dict[Answer, Gain | None] = {
        "more_photos": curves.more_photos(),
        "bigger_network": curves.bigger_network(),
        "cleaner_labels": curves.cleaner_labels() if setting.labels_judged else None,
    }
    needs = _needs(trials, setting.classes)
    trained = np.mean([trial.train_accuracy for trial in trials], axis=0)
    answer = _choose(curves, gains, setting, _majority(trials))
    return Enough(
        answer=answer,
        sentence=_sentence(answer, curves, gains, needs, setting, _majority(trials)),
        gains=gains,
        curves=tuple(
            LearningCurve(
                *setting.networks[k],
                points=tuple(curves.point(k, part, float(trained[k, part])) for part in range(len(curves.sizes))),
                exponent=exponent(curves.errors[k]),
                forecast=curves.forecast(k),
            )
            for k in range(len(setting.networks))
        ),
        classes=tuple(needs),
        evidence=tuple(_evidence(curves, trained, setting)),
        caveats=tuple(_caveats(trials, setting)),
        num_held_out=sum(len(trial.labels) for trial in trials),
        repeats=len(trials),
        input_size=setting.input_size,
        epochs=setting.epochs,
        usual_epochs=setting.usual_epochs,
        seconds=setting.seconds,
        budget_s=setting.budget_s,
    )


def too_few(num_images: int, needed: str, budget_s: float) -> Enough:
    """Where not even a curve can be measured."""
    sentence = phrase(
        "More photos: {number} to train and validate on are too few to measure anything; {needed}.",
        number=f"{num_images:,}", needed=needed,
    )  # fmt: skip
    return Enough("more_photos", sentence, {}, budget_s=budget_s)


def too_slow(trained: float, seconds: float, budget_s: float) -> Enough:
    """Where the time was over before anything could be measured.

    Args:
        trained: the part that was done of all that is usually trained.
        seconds: that it took.
        budget_s: that it might take.
    """
    sentence = phrase(
        "It cannot be told in this time: training goes slowly here now; give about {option}.",
        option=f"--time {max(1, round(seconds / max(trained, 0.001) / 60))}m",
    )
    return Enough("unknown", sentence, {}, seconds=seconds, budget_s=budget_s)


def _choose(curves: Curves, gains: dict[Answer, Gain | None], setting: Setting, majority: float) -> Answer:
    """The largest gain that is certain and worth the work."""
    if setting.trained < LEAST_TRAINED or _learned_nothing(curves, majority):
        return "unknown"
    sure = {name: gain.gain for name, gain in gains.items() if gain and gain.gain >= WORTH and gain.low > 0}
    if sure:
        return max(sure, key=lambda name: sure[name])
    return "enough" if curves.errors[:, -1].min() <= FEW_WRONG else "unknown"


def _majority(trials: Sequence[Trial]) -> float:
    """Accuracy of who always names the largest class."""
    counts = np.bincount(np.concatenate([trial.labels for trial in trials]))
    return float(counts.max() / counts.sum())


def _learned_nothing(curves: Curves, majority: float) -> bool:
    """Whether the better network is not surely better than naming the largest class."""
    return bool(np.percentile(1 - curves.drawn[:, :, -1], 2.5, axis=0).max() <= majority)


def _needs(trials: Sequence[Trial], classes: Sequence[str]) -> list[ClassNeed]:
    accuracy, gain, sizes = class_gains(trials)
    measured = np.flatnonzero(np.isfinite(accuracy))
    order = measured[np.lexsort((sizes[measured], -gain[measured]))]
    return [ClassNeed(classes[k], int(sizes[k]), float(accuracy[k]), float(gain[k])) for k in order]


def _sentence(
    answer: Answer, curves: Curves, gains: dict[Answer, Gain | None], needs: Sequence[ClassNeed], setting: Setting,
    majority: float,
) -> str:  # fmt: skip
    photos, network, labels = (gains[name] for name in ("more_photos", "bigger_network", "cleaner_labels"))
    assert photos is not None  # noqa: S101  (both are always measured)
    assert network is not None  # noqa: S101
    with_photos = phrase("twice as many photos would bring {points}", points=_points(photos))
    with_network = phrase(
        "a network with {times}x the MACs brings {points}", times=setting.times, points=_points(network)
    )
    with_labels = [] if labels is None else [phrase("cleaner labels {points}", points=_points(labels))]
    error = float(curves.errors[:, -1].min())
    if answer == "more_photos":
        return phrase(
            "{more}: twice as many would bring {points}; {others}.",
            more=_more_photos(needs, photos.gain), points=_points(photos), others=_listed(with_network, *with_labels),
        )  # fmt: skip
    if answer == "bigger_network":
        return phrase(
            "A bigger network: one with {times}x the MACs brings {points}; {others}.",
            times=setting.times, points=_points(network), others=_listed(with_photos, *with_labels),
        )  # fmt: skip
    if answer == "cleaner_labels" and labels is not None:
        return phrase(
            "Cleaner labels: those that are doubted cost {points}; {others}.",
            points=_points(labels), others=_listed(with_photos, with_network),
        )  # fmt: skip
    measured = _listed(with_photos, with_network, *with_labels)
    if answer == "enough":
        return phrase("It is enough: {right} % are right; {others}.", right=f"{100 * (1 - error):.1f}", others=measured)
    return _with_more_time(_unknown(curves, error, setting, majority, measured), setting)


def _unknown(curves: Curves, error: float, setting: Setting, majority: float, measured: str) -> str:
    if setting.trained < LEAST_TRAINED:
        return phrase(
            "It cannot be told in this time: the networks had {share} % of the usual training; give about {option}.",
            share=f"{100 * setting.trained:.0f}", option=setting.usual_time,
        )  # fmt: skip
    if _learned_nothing(curves, majority):
        return phrase(
            "It cannot be told: no network learned what the classes are; see whether the labels say what the images "
            "show, and whether it can be seen at all."
        )
    told = {"wrong": f"{100 * error:.1f}", "measured": measured}
    if setting.labels_judged:
        return phrase("It cannot be told: {wrong} % are wrong, and nothing surely brings more: {measured}.", **told)
    return phrase(
        "It cannot be told: {wrong} % are wrong, and nothing surely brings more: {measured}; wrong labels have not "
        "been looked for: --labels.",
        **told,
    )


def _with_more_time(sentence: str, setting: Setting) -> str:
    """Networks that were trained for less than usual may only lack time."""
    if not LEAST_TRAINED <= setting.trained < 1:
        return sentence
    return phrase(
        "{sentence} With the usual training it may be: {option}.", sentence=sentence, option=setting.usual_time
    )


def _more_photos(needs: Sequence[ClassNeed], mean: float) -> str:
    """Of which classes, if some gain more than the mean."""
    named = [need.name for need in needs if need.gain > 1.2 * mean][:CLASSES_NAMED]
    if not named or len(needs) < 2:
        return phrase("More photos")
    return phrase("More photos, most of all of {classes}", classes=joined(named))


def _listed(*parts: str) -> str:
    return joined(parts, last=", ")


def _points(gain: Gain) -> str:
    points, low, high = (f"{100 * value:.1f}" for value in (gain.gain, gain.low, gain.high))
    return phrase("{points} points ({low} to {high})", points=points, low=low, high=high)


def _evidence(curves: Curves, trained: Floats, setting: Setting) -> list[str]:
    """How training and held-out images differ: networks that know only their own images lack others."""
    told: list[str] = []
    for k, (name, _, _) in enumerate(setting.networks):
        own, new = float(trained[k, -1]), float(1 - curves.errors[k, -1])
        told.append(
            phrase(
                "{name} names {own} % of its training images rightly, {new} % of others",
                name=name,
                own=f"{100 * own:.1f}",
                new=f"{100 * new:.1f}",
            )
        )
    return told


def _caveats(trials: Sequence[Trial], setting: Setting) -> list[str]:
    told: list[str] = []
    if len(trials) == 1:
        told.append(
            phrase("measured once: the intervals leave out the luck of training and of the choice; more --time repeats")
        )
    if setting.trained < 1:
        told.append(
            phrase(
                "networks were trained for {epochs} of the usual {usual} epochs",
                epochs=setting.epochs,
                usual=setting.usual_epochs,
            )
        )
    if setting.from_scratch:
        told.append(phrase("networks began with fresh weights; from pretrained ones, fewer images are enough"))
    return [*told, phrase("networks saw the images at {side} px", side=setting.input_size)]
