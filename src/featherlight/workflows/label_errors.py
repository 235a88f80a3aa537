"""Probably wrong labels: networks judge images that they were not trained on, and cleanlab tells whom to doubt."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featherlight.console import Bar, bar, counting, duration, note
from featherlight.devices import select_device
from featherlight.errors import TrainingStoppedError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import MemoryBatches, fits_in_memory
from featherlight.loading.decoding import Decoder
from featherlight.loading.loaded import load_images
from featherlight.metrics import cross_entropy, fit_temperature, macro_scores, softmax
from featherlight.models.engine import infer, normalized
from featherlight.models.registry import create_model
from featherlight.sources.base import take
from featherlight.sources.findings import Checked, Finding, Suggestion
from featherlight.sources.findings.checked import NOWHERE
from featherlight.sources.folds import deal_folds
from featherlight.training.checkpoint import Origin
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Row, Trainer, Validation
from featherlight.training.validation import BATCH_SIZE as VALIDATION_BATCH

FOLDS = 4
LEAST_IN_CLASS = 10  # of fewer images nothing can be learned about
LEAST_AGREEMENT = 0.5  # of networks with labels; doubts of networks that know less are worth nothing
ENLARGED = 1.3  # times at most: beyond, a larger input shows nothing more
_WATCHED = 256  # held-out images whose accuracy is shown on the way
_TRIED_STEPS = 4  # to measure the speed


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


@dataclass(frozen=True)
class _Images:
    """All images that take part, decoded at the network's size.

    Attributes:
        pixels: uint8 (N, S, S, 3).
        labels: int64 (N,), numbered without gaps.
        classes: label -> class of the survey.
        positions: of each in the survey.
        roots: what hangs together shares a number.
    """

    pixels: Tensor
    labels: NDArray[np.int64]
    classes: NDArray[np.int64]
    positions: NDArray[np.int64]
    roots: NDArray[np.int64]


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
    images = _read(checked, positions, recipe.input_size)
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
    labels = checked.survey.images.labels
    readable = np.flatnonzero(checked.facts.readable & (labels != NOWHERE))
    sizes = np.bincount(labels[readable], minlength=len(checked.survey.classes))
    large = sizes >= LEAST_IN_CLASS
    return readable[large[labels[readable]]] if large.sum() > 1 else np.zeros(0, np.int64)


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
        recipe = default_recipe(facts, {**asdict(choice), "crop": "pad", "crop_fraction": 1.0, "device": device})
        needed_s = recipe.epochs * num_trained / _images_per_s(recipe, num_classes)
        if needed_s <= budget_s:
            return recipe
    note(f"labels: a network gets {duration(budget_s)}; the usual length would be {duration(needed_s)}")
    return dataclasses.replace(recipe, epochs=0, time_s=budget_s)


def _fitting(checked: Checked, positions: NDArray[np.int64]) -> list[_Choice]:
    """Networks whose input images and memory are large enough for."""
    side = ENLARGED * float(np.median(checked.facts.sizes[positions].min(axis=1)))
    sizes = [choice.input_size for choice in _CHOICES]
    fits = [size <= side and fits_in_memory(len(positions), _preprocessing(size)) for size in sizes]
    return [choice for choice, fit in zip(_CHOICES, fits, strict=True) if fit] or [_CHOICES[-1]]


def _preprocessing(size: int) -> Preprocessing:
    return Preprocessing(size, "stretch", 1.0, IMAGENET_MEAN, IMAGENET_STD)  # all of the image, whatever its shape


def _read(checked: Checked, positions: NDArray[np.int64], size: int) -> _Images:
    chosen = take(checked.survey.images, positions)
    with counting("reading images", len(positions)) as advance:
        stored = load_images(Decoder(chosen, _preprocessing(size), scaled=True), advance)
    pixels = np.stack(list(stored[np.arange(len(stored.positions))]))
    positions = positions[stored.positions]  # some may have gone since they were looked at
    classes, numbered = np.unique(chosen.labels[stored.positions], return_inverse=True)
    return _Images(torch.from_numpy(pixels), numbered, classes, positions, checked.roots()[positions])


def _judge(images: _Images, folds: NDArray[np.int64], recipe: Recipe) -> NDArray[np.float64]:
    """Probabilities (N, K) of networks that have not seen the image."""
    result = np.zeros((len(folds), len(images.classes)))
    with bar("judging labels") as shown:
        for fold in range(FOLDS):
            held_out = np.flatnonzero(folds == fold)
            logits = _train_without(images, folds != fold, held_out, recipe, _Progress(shown, fold))
            result[held_out] = softmax(logits, fit_temperature(logits, images.labels[held_out]))
    return result


def _images_per_s(recipe: Recipe, num_classes: int) -> float:
    """How fast training goes here, measured in a few steps; the first of them also prepares."""
    network = _network(recipe, num_classes).train()
    noise = torch.randint(256, (recipe.batch_size, recipe.input_size, recipe.input_size, 3), dtype=torch.uint8)
    pixels = normalized(noise.to(select_device(recipe.device)), _preprocessing(recipe.input_size))
    network(pixels).sum().backward()
    started = time.monotonic()
    for _ in range(_TRIED_STEPS):
        output = network(pixels).sum()
        output.backward()
        output.item()  # waits for the device
    return _TRIED_STEPS * recipe.batch_size / (time.monotonic() - started)


def _network(recipe: Recipe, num_classes: int) -> nn.Module:
    torch.manual_seed(recipe.seed)
    network = create_model(
        recipe.model, num_classes, input_size=recipe.input_size, stem=recipe.stem, dropout=recipe.dropout
    )
    return network.to(select_device(recipe.device)).to(memory_format=torch.channels_last)


def _batches(recipe: Recipe, images: _Images, chosen: NDArray[np.int64]) -> MemoryBatches:
    pixels, labels = images.pixels[chosen], torch.from_numpy(images.labels[chosen])
    augmentation = Augmentation(recipe.input_size, recipe.crop, recipe.flip, False, 0.0, 0.0, len(images.classes))
    return MemoryBatches(pixels, labels, augmentation, recipe.batch_size, recipe.seed, [])


def _train_without(
    images: _Images, trained: NDArray[np.bool_], held_out: NDArray[np.int64], recipe: Recipe, progress: _Progress
) -> NDArray[np.float32]:
    """Logits of the held-out images, by a network trained on the others."""
    network = _network(recipe, len(images.classes))
    batches = _batches(recipe, images, np.flatnonzero(trained))
    watched = _HeldOut(images, held_out[:_WATCHED], recipe)
    learner = Learner(network, recipe, _preprocessing(recipe.input_size), batches.augmentation)
    trainer = Trainer(learner, batches, watched, None, Origin("labels"), progress)
    try:
        kept = trainer.fit()
    except TrainingStoppedError as error:  # its advice is about runs that can be resumed
        reason = str(error).split(";")[0].split(". ")[0]
        raise TrainingStoppedError(f"looking for wrong labels: {reason}") from error
    return _HeldOut(images, held_out, recipe).logits(kept)


@dataclass(frozen=True)
class _HeldOut:
    """Images that a network is measured on."""

    images: _Images
    positions: NDArray[np.int64]
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.positions)

    def __call__(self, model: nn.Module) -> Validation:
        """See :class:`featherlight.training.trainer.Validator`."""
        logits, labels = self.logits(model), self.images.labels[self.positions]
        predicted = logits.argmax(axis=1)
        scores = macro_scores(labels, predicted, len(self.images.classes))
        return Validation(cross_entropy(logits, labels), float((predicted == labels).mean()), scores["macro_f1"])

    def part(self, count: int) -> _HeldOut:
        """See :class:`featherlight.training.trainer.Validator`."""
        return dataclasses.replace(self, positions=self.positions[:count])

    def logits(self, model: nn.Module) -> NDArray[np.float32]:
        """Logits (N, K)."""
        device, preprocessing = select_device(self.recipe.device), _preprocessing(self.recipe.input_size)
        parts = np.array_split(self.positions, max(1, len(self.positions) // VALIDATION_BATCH))
        batches = (normalized(self.images.pixels[part].to(device), preprocessing) for part in parts)
        return np.concatenate([infer(model, batch).cpu().numpy() for batch in batches])


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
    checked: Checked, images: _Images, probabilities: NDArray[np.float64], is_learned: NDArray[np.bool_]
) -> list[Finding]:
    """What cleanlab doubts, the least believed label first."""
    from cleanlab.filter import find_label_issues

    doubted = find_label_issues(images.labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [_finding(checked, images, probabilities, int(place)) for place in doubted if is_learned[place]]


def _finding(checked: Checked, images: _Images, probabilities: NDArray[np.float64], place: int) -> Finding:
    believed = int(probabilities[place].argmax())
    label, suggested = (checked.survey.classes[images.classes[k]] for k in (images.labels[place], believed))
    probability = float(probabilities[place, believed])
    text = f"is labelled {label}, but looks like {suggested} ({probability:.0%}) to a network that never saw it"
    return dataclasses.replace(
        checked.about("label_error", "warning", [images.positions[place]], text),
        suggestion=Suggestion(label, suggested, probability),
        harm=1 - float(probabilities[place, images.labels[place]]),
    )
