"""Probably wrong labels: networks judge images that they were not trained on, and cleanlab tells whom to doubt."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.console import Bar, bar, duration, note
from featherlight.metrics import fit_temperature, softmax
from featherlight.phrases import phrase
from featherlight.sources.findings import Checked, Finding, Suggestion
from featherlight.sources.findings.checked import NOWHERE
from featherlight.sources.folds import deal_folds
from featherlight.training.defaults import DataFacts
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Row
from featherlight.workflows.small_networks import (
    LEAST_IN_CLASS,
    CheckedImages,
    Judged,
    checking_recipe,
    fitting_sizes,
    images_per_s,
    of_large_classes,
    read_checked,
    train_on,
)

FOLDS = 4
LEAST_AGREEMENT = 0.5  # of networks with labels; doubts of networks that know less are worth nothing
_WATCHED = 256  # held-out images whose accuracy is shown on the way


@dataclass(frozen=True)
class _Choice:
    """A network that costs about a millisecond an image and step, or for the largest size three."""

    model: str
    input_size: int
    stem: str


_CHOICES = (
    _Choice("shufflenet_v2_x0_5", 128, "imagenet"),
    _Choice("shufflenet_v2_x0_5", 64, "imagenet"),
    _Choice("mobilenet_v1_x0_25", 32, "cifar"),
)


def find_label_errors(checked: Checked, budget_s: float, device: str = "auto") -> list[Finding]:
    """Finds images whose label a network doubts that was trained without them (Northcutt et al. 2021).

    The images are dealt into folds, copies and groups together; for each fold a small network is trained on the
    others and judges it. Splits play no part: a wrong label in test matters too.

    Args:
        checked: the data.
        budget_s: seconds that training may take, about; it takes less where less will do.
        device: where to train.

    Returns:
        A finding an image, empty if there are too few images.
    """
    positions = _usable(checked)
    if not len(positions):
        note(f"too few images to look for wrong labels: at least two classes of {LEAST_IN_CLASS} are needed")
        return []
    recipe = _choose_recipe(checked, positions, budget_s / FOLDS, device)
    images = read_checked(checked, positions, recipe.input_size)
    folds = deal_folds(images.labels, images.roots, FOLDS)
    probabilities = _judge(images, folds, recipe)
    agreement = float((probabilities.argmax(axis=1) == images.labels).mean())
    note(f"labels: networks that had not seen an image agree with its label for {agreement:.1%} of {len(positions):,}")
    if agreement < LEAST_AGREEMENT:
        note("they know too little to doubt labels, so none is listed; give more time: --labels-time 30m")
        return []
    return _tell(checked, images, probabilities, _is_learned(images.labels, folds))


def _is_learned(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the network that judges an image has seen enough of its class; not if all that hangs together."""
    held_out = np.zeros((int(labels.max()) + 1, FOLDS), np.int64)
    np.add.at(held_out, (labels, folds), 1)
    enough: NDArray[np.bool_] = held_out.sum(axis=1, keepdims=True) - held_out >= LEAST_IN_CLASS // 2
    return enough[labels, folds]


def _usable(checked: Checked) -> NDArray[np.int64]:
    """Positions of readable images of classes that are large enough; none, if only one class is."""
    readable = np.flatnonzero(checked.facts.readable & (checked.survey.images.labels != NOWHERE))
    return of_large_classes(checked, readable)


def _choose_recipe(checked: Checked, positions: NDArray[np.int64], budget_s: float, device: str) -> Recipe:
    """The network with the largest input that has time for the usual number of epochs; else the smallest in that time.

    Args:
        checked: the data.
        positions: images that take part.
        budget_s: seconds for one network.
        device: where to train.
    """
    labels = checked.survey.images.labels[positions]
    num_trained, num_classes = len(labels) * (FOLDS - 1) // FOLDS, len(np.unique(labels))
    for choice in _fitting(checked, positions):
        facts = DataFacts("images", num_trained, choice.input_size, checked.survey.flip_safe)
        recipe = checking_recipe(facts, {**asdict(choice), "device": device})
        needed_s = recipe.epochs * num_trained / images_per_s(recipe, num_classes)
        if needed_s <= budget_s:
            return recipe
    note(f"labels: a network gets {duration(budget_s)}; the usual length would be {duration(needed_s)}")
    return dataclasses.replace(recipe, epochs=0, time_s=budget_s)


def _fitting(checked: Checked, positions: NDArray[np.int64]) -> list[_Choice]:
    """Networks whose input images and memory are large enough for."""
    sizes = fitting_sizes(checked, positions, [choice.input_size for choice in _CHOICES])
    return [choice for choice in _CHOICES if choice.input_size in sizes] or [_CHOICES[-1]]


def _judge(images: CheckedImages, folds: NDArray[np.int64], recipe: Recipe) -> NDArray[np.float64]:
    """Probabilities (N, K) of networks that have not seen the image."""
    result = np.zeros((len(folds), len(images.classes)))
    with bar("judging labels") as shown:
        for fold in range(FOLDS):
            held_out = np.flatnonzero(folds == fold)
            trained, watched = np.flatnonzero(folds != fold), held_out[:_WATCHED]
            network = train_on(images, trained, watched, recipe, _Progress(shown, fold), "looking for wrong labels")
            logits = Judged(images, held_out, recipe).logits(network)
            result[held_out] = softmax(logits, fit_temperature(logits, images.labels[held_out]))
    return result


@dataclass(frozen=True)
class _Progress:
    """Moves the bar; the epochs of four networks are nobody's concern."""

    shown: Bar
    fold: int

    def step(self, text: str, part_done: float) -> None:
        """See :class:`featherlight.training.trainer.Observer`."""
        self.shown.update((self.fold + part_done) / FOLDS, f"network {self.fold + 1} of {FOLDS}  {text}")

    def epoch(self, row: Row) -> None:
        """Nothing to tell."""


def _tell(
    checked: Checked, images: CheckedImages, probabilities: NDArray[np.float64], is_learned: NDArray[np.bool_]
) -> list[Finding]:
    """What cleanlab doubts, the least believed label first."""
    from cleanlab.filter import find_label_issues

    doubted = find_label_issues(images.labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [_finding(checked, images, probabilities, int(place)) for place in doubted if is_learned[place]]


def _finding(checked: Checked, images: CheckedImages, probabilities: NDArray[np.float64], place: int) -> Finding:
    believed = int(probabilities[place].argmax())
    label, suggested = (checked.survey.classes[images.classes[k]] for k in (images.labels[place], believed))
    probability = float(probabilities[place, believed])
    text = phrase(
        "is labelled {label}, but looks like {suggested} ({probability}) to a network that never saw it",
        label=label, suggested=suggested, probability=f"{probability:.0%}",
    )  # fmt: skip
    return dataclasses.replace(
        checked.about("label_error", "warning", [images.positions[place]], text),
        suggestion=Suggestion(label, suggested, probability),
        harm=1 - float(probabilities[place, images.labels[place]]),
    )
