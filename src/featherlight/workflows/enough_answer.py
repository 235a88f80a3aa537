"""From learning curves to one sentence: more photos, a bigger network, cleaner labels, or nothing of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    def times(self) -> str:
        """How much larger the larger network is."""
        return f"{self.networks[1][2] / self.networks[0][2]:.2g}x the MACs"


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
    sentence = f"More photos: {num_images:,} to train and validate on are too few to measure anything; {needed}."
    return Enough("more_photos", sentence, {}, budget_s=budget_s)


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
    with_photos = f"twice as many photos would bring {_points(photos)}"
    with_network = f"a network with {setting.times} brings {_points(network)}"
    with_labels = "" if labels is None else f", cleaner labels {_points(labels)}"
    if answer == "more_photos":
        named = _most_needed(needs, photos.gain)
        return f"More photos{named}: twice as many would bring {_points(photos)}; {with_network}{with_labels}."
    if answer == "bigger_network":
        return f"A bigger network: one with {setting.times} brings {_points(network)}; {with_photos}{with_labels}."
    if answer == "cleaner_labels" and labels is not None:
        return f"Cleaner labels: those that are doubted cost {_points(labels)}; {with_photos}, {with_network}."
    error = float(curves.errors[:, -1].min())
    if answer == "enough":
        return f"It is enough: {100 * (1 - error):.1f} % are right; {with_photos}, {with_network}{with_labels}."
    return _unknown(curves, error, setting, majority, f"{with_photos}, {with_network}{with_labels}")


def _unknown(curves: Curves, error: float, setting: Setting, majority: float, measured: str) -> str:
    if setting.trained < LEAST_TRAINED:
        needed_min = max(1, round(setting.budget_s / setting.trained / 60))
        return (
            f"It cannot be told in this time: the networks had {100 * setting.trained:.0f} % of the usual training; "
            f"give about --time {needed_min}m."
        )
    if _learned_nothing(curves, majority):
        return (
            "It cannot be told: no network learned what the classes are; see whether the labels say what the images "
            "show, and whether it can be seen at all."
        )
    if setting.labels_judged:
        return f"It cannot be told: {100 * error:.1f} % are wrong, and nothing surely brings more: {measured}."
    return (
        f"It cannot be told: {100 * error:.1f} % are wrong, and nothing surely brings more: {measured}; wrong labels "
        "have not been looked for: --labels."
    )


def _most_needed(needs: Sequence[ClassNeed], mean: float) -> str:
    """The classes that gain more than the mean, if some stand out."""
    named = [need.name for need in needs if need.gain > 1.2 * mean][:CLASSES_NAMED]
    return f", most of all of {_join(named)}" if named and len(needs) > 1 else ""


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _points(gain: Gain) -> str:
    return f"{100 * gain.gain:.1f} points ({100 * gain.low:.1f} to {100 * gain.high:.1f})"


def _evidence(curves: Curves, trained: Floats, setting: Setting) -> list[str]:
    """How training and held-out images differ: networks that know only their own images lack others."""
    told = []
    for k, (name, _, _) in enumerate(setting.networks):
        own, new = float(trained[k, -1]), float(1 - curves.errors[k, -1])
        told.append(f"{name} names {100 * own:.1f} % of its training images rightly, {100 * new:.1f} % of others")
    return told


def _caveats(trials: Sequence[Trial], setting: Setting) -> list[str]:
    told = []
    if len(trials) == 1:
        told.append(
            "measured once: the intervals leave out the luck of training and of the choice; more --time repeats"
        )
    if setting.trained < 1:
        told.append(f"networks were trained for {setting.epochs} of the usual {setting.usual_epochs} epochs")
    if setting.from_scratch:
        told.append("networks began with fresh weights; from pretrained ones, fewer images are enough")
    return [*told, f"networks saw the images at {setting.input_size} px"]
