"""Is it the data or the network? Trains a small and a larger network on parts of the data, inside a budget of time.

All networks make the same number of steps of the same size: those with fewer images see them more often. With the same
number of epochs, those with fewer images would also be trained less, and every curve would seem to ask for photos.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.console import Bar, bar, note
from featherlight.cost.count import count_cost
from featherlight.models.registry import create_model
from featherlight.phrases import counted, phrase
from featherlight.sources.findings import Checked, Finding
from featherlight.sources.findings.checked import NOWHERE, SPLITS
from featherlight.sources.findings.enough import Enough
from featherlight.sources.folds import deal_folds
from featherlight.training.defaults import TRANSFER_FROM, DataFacts
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Row
from featherlight.workflows.enough_answer import Setting, conclude, too_few, too_slow
from featherlight.workflows.enough_curves import Trial
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

PARTS = (1, 2, 4)  # quarters of the images
FOLDS = 5  # one is held out
MAX_REPEATS = FOLDS
RESERVED = 0.15  # of the time, for all that is not training
LATE_BY = 0.25  # of the time, or a few seconds: what is not done by then is given up
LATE_S = 30.0
_WATCHED = 32  # held-out images that training itself measures on
_TRAINED_JUDGED = 1000  # training images that a network is measured on
_TRAIN, _VAL = SPLITS.index("train"), SPLITS.index("val")


@dataclass(frozen=True)
class Pair:
    """A small and a larger network for one size of images."""

    input_size: int
    stem: str
    small: str
    large: str


PAIRS = (
    Pair(128, "imagenet", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    Pair(64, "imagenet", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    Pair(32, "cifar", "mobilenet_v1_x0_25", "mobilenet_v1_x0_5"),
)


@dataclass(frozen=True)
class _Plan:
    """What is trained: the two recipes, seconds an image takes in each, and how long a run would usually be."""

    pair: Pair
    recipes: tuple[Recipe, Recipe]
    image_s: tuple[float, float]
    usual_epochs: int

    def part_done(self, place: int, number: int, part: float) -> float:
        """Of a repeat's work, once so much of the network is trained that comes after ``number`` others of its kind."""
        done = len(PARTS) * sum(self.image_s[:place]) + (number + part) * self.image_s[place]
        return done / (len(PARTS) * sum(self.image_s))


class _TooSlowError(Exception):
    """Training takes so much longer than it was measured to that the time is over."""

    def __init__(self, part_done: float) -> None:
        super().__init__()
        self.part_done = part_done


def find_enough(
    checked: Checked,
    budget_s: float,
    device: str = "auto",
    doubts: Sequence[Finding] | None = None,
    pairs: Sequence[Pair] | None = None,
) -> Enough:
    """Finds out whether more photos, a bigger network or cleaner labels would bring most.

    Test images take no part. Where whoever made the data gave validation images, those are held out; else a fifth of
    all images, another one in each repeat, copies and groups together.

    Args:
        checked: the data.
        budget_s: seconds that it may take, about; it takes less where less will do.
        device: where to train.
        doubts: findings of wrong labels; None: they were not looked for.
        pairs: networks to choose from, the largest images first; None: ours.
    """
    started = time.monotonic()
    positions = _usable(checked)
    if not len(positions):
        there_are = int(_is_used(checked).sum())
        return too_few(
            there_are, phrase("at least two classes of {least} images are needed", least=LEAST_IN_CLASS), budget_s
        )
    plan = _plan(checked, positions, started + budget_s * (1 - RESERVED), device, pairs or PAIRS)
    images = read_checked(checked, positions, plan.pair.input_size)
    suggested = _suggested(checked, images, doubts or ())
    trials: list[Trial] = []
    with bar("learning curves") as shown:
        while len(trials) < MAX_REPEATS:
            begun = time.monotonic()
            progress = _Progress(shown, started, budget_s, plan)
            try:
                trials.append(_try(checked, images, suggested, plan, len(trials), progress))
            except _TooSlowError as error:
                if trials:
                    break
                return too_slow(
                    plan.recipes[0].epochs / plan.usual_epochs * error.part_done, time.monotonic() - started, budget_s
                )
            now = time.monotonic()
            if now - started + (now - begun) > budget_s:  # another one would take too long
                break
    note(f"learning curves: {counted(len(trials), 'repeat')} of {2 * len(PARTS)} networks")
    return conclude(trials, _setting(checked, images, plan, time.monotonic() - started, budget_s, doubts is not None))


def _is_used(checked: Checked) -> NDArray[np.bool_]:
    """Whether an image can be read and is there to train or validate on."""
    used = np.isin(checked.splits, (_TRAIN, _VAL)) & (checked.survey.images.labels != NOWHERE)
    return np.asarray(used & checked.facts.readable)


def _usable(checked: Checked) -> NDArray[np.int64]:
    """Positions of such images, of classes that are large enough."""
    return of_large_classes(checked, np.flatnonzero(_is_used(checked)))


def _plan(checked: Checked, positions: NDArray[np.int64], deadline: float, device: str, pairs: Sequence[Pair]) -> _Plan:
    """The largest images for which there is time for the usual length, else the smallest and what there is time for."""
    sizes = fitting_sizes(checked, positions, [pair.input_size for pair in pairs])
    fitting = [pair for pair in pairs if pair.input_size in sizes] or [pairs[-1]]
    num_classes = len(np.unique(checked.survey.images.labels[positions]))
    is_given = checked.survey.sides[positions] == _VAL
    num_trained = int((~is_given).sum()) if is_given.any() else len(positions) * (FOLDS - 1) // FOLDS
    for pair in fitting:
        facts = DataFacts("images", num_trained, pair.input_size, checked.survey.flip_safe)
        small, large = (_recipe(facts, pair, name, device) for name in (pair.small, pair.large))
        image_s = (1 / images_per_s(small, num_classes), 1 / images_per_s(large, num_classes))
        epochs = int((deadline - time.monotonic()) / (len(PARTS) * num_trained * sum(image_s)))
        if epochs >= small.epochs:
            return _Plan(pair, (small, large), image_s, small.epochs)
    shorter = {"epochs": max(1, epochs)}
    recipes = (_recipe(facts, pair, pair.small, device, shorter), _recipe(facts, pair, pair.large, device, shorter))
    return _Plan(pair, recipes, image_s, small.epochs)


def _recipe(facts: DataFacts, pair: Pair, model: str, device: str, settings: dict[str, int] | None = None) -> Recipe:
    given = {"model": model, "input_size": pair.input_size, "stem": pair.stem, "device": device}
    return checking_recipe(facts, {**given, **(settings or {})})


def _try(
    checked: Checked,
    images: CheckedImages,
    suggested: NDArray[np.int64],
    plan: _Plan,
    repeat: int,
    progress: _Progress,
) -> Trial:
    """Trains both networks on each part and asks them about the images that were held out."""
    held_out, trained = _hold_out(checked, images, repeat)
    quarters = deal_folds(images.labels[trained], images.roots[trained], PARTS[-1], seed=repeat)
    parts = [trained[quarters < count] for count in PARTS]
    named = np.zeros((len(plan.recipes), len(parts), len(held_out)), np.int64)
    train_accuracy = np.zeros(named.shape[:2])
    for place, recipe in enumerate(plan.recipes):
        seeded = dataclasses.replace(recipe, seed=repeat)
        for number, part in enumerate(parts):
            shown_equally_often = np.tile(part, PARTS[-1] // PARTS[number])
            told = dataclasses.replace(progress, repeat=repeat, place=place, number=number, images=len(part))
            network = train_on(images, shown_equally_often, held_out[:_WATCHED], seeded, told, "learning curves")
            named[place, number] = Judged(images, held_out, seeded).logits(network).argmax(axis=1)
            own = part[np.linspace(0, len(part) - 1, min(len(part), _TRAINED_JUDGED)).astype(int)]
            train_accuracy[place, number] = Judged(images, own, seeded)(network).top1
    class_sizes = np.bincount(images.labels[trained], minlength=len(images.classes))
    sizes = np.array([len(part) for part in parts])
    return Trial(sizes, named, images.labels[held_out], suggested[held_out], train_accuracy, class_sizes)


def _hold_out(checked: Checked, images: CheckedImages, repeat: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the images to measure on, and of those to train on, which have no copies among them."""
    given = checked.survey.sides[images.positions] == _VAL
    is_held_out = given if given.any() else deal_folds(images.labels, images.roots, FOLDS) == repeat
    alike = np.isin(images.roots, images.roots[is_held_out])
    return np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out & ~alike)


def _suggested(checked: Checked, images: CheckedImages, doubts: Sequence[Finding]) -> NDArray[np.int64]:
    """The label that doubts suggest for each image; -1: none."""
    names = {checked.survey.classes[number]: label for label, number in enumerate(images.classes)}
    by_position = {
        finding.positions[0]: names.get(finding.suggestion.suggested, -1)
        for finding in doubts
        if finding.kind == "label_error" and finding.suggestion is not None
    }
    return np.array([by_position.get(int(position), -1) for position in images.positions], np.int64)


def _setting(
    checked: Checked, images: CheckedImages, plan: _Plan, seconds: float, budget_s: float, labels_judged: bool
) -> Setting:
    small, large = (_cost(recipe, len(images.classes)) for recipe in plan.recipes)
    return Setting(
        networks=(small, large),
        classes=tuple(checked.survey.classes[number] for number in images.classes),
        input_size=plan.pair.input_size,
        epochs=plan.recipes[0].epochs,
        usual_epochs=plan.usual_epochs,
        seconds=seconds,
        budget_s=budget_s,
        labels_judged=labels_judged,
        from_scratch=checked.input_size >= TRANSFER_FROM,
    )


def _cost(recipe: Recipe, num_classes: int) -> tuple[str, int, int]:
    """Name, parameters and multiply-adds of the network."""
    with torch.device("meta"):
        network = create_model(recipe.model, num_classes, input_size=recipe.input_size, stem=recipe.stem)
    cost = count_cost(network.eval(), (3, recipe.input_size, recipe.input_size), recipe.model)
    return recipe.model, cost.params, cost.macs


@dataclass(frozen=True)
class _Progress:
    """Moves the bar with the time; the epochs of single networks are nobody's concern. Gives up when it is late."""

    shown: Bar
    started: float
    budget_s: float
    plan: _Plan
    repeat: int = 0
    place: int = 0
    number: int = 0
    images: int = 0

    def step(self, text: str, part_done: float) -> None:
        """See :class:`featherlight.training.trainer.Observer`."""
        spent_s = time.monotonic() - self.started
        if spent_s > self.budget_s + max(LATE_BY * self.budget_s, LATE_S):
            raise _TooSlowError(self.plan.part_done(self.place, self.number, part_done))
        network = f"{self.plan.recipes[self.place].model} on {counted(self.images, 'image')}"
        self.shown.update(min(1.0, spent_s / self.budget_s), f"repeat {self.repeat + 1}  {network}  {text}")

    def epoch(self, row: Row) -> None:
        """Nothing to tell."""
