"""Probably wrong labels: networks judge images that they were not trained on, and cleanlab tells whom to doubt."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featherlight.console import Bar, bar, counting, note
from featherlight.devices import select_device
from featherlight.errors import MissingExtraError, TrainingStoppedError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import MemoryBatches, fits_in_memory
from featherlight.metrics import cross_entropy, fit_temperature, macro_scores, softmax
from featherlight.models.engine import infer, normalized
from featherlight.models.registry import create_model
from featherlight.sources.base import take
from featherlight.sources.findings import Checked, Finding, Suggestion
from featherlight.sources.findings.checked import NOWHERE
from featherlight.sources.folds import deal_folds
from featherlight.sources.reading import read_prepared
from featherlight.training.defaults import CIFAR_STEM_UP_TO, DataFacts, default_recipe
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Row, Trainer, Validation
from featherlight.training.validation import BATCH_SIZE as VALIDATION_BATCH

MODEL = "shufflenet_v2_x0_5"
FOLDS = 4
SIZES = (128, 64, 32)  # sides of the network's input, pixels
ENLARGED = 1.3  # more than so many times brings nothing
LEAST_IN_CLASS = 10  # of fewer images nothing can be learned about
_WATCHED = 256  # held-out images whose accuracy is shown on the way
_TRIED_STEPS = 4  # to measure the speed


def require_cleanlab() -> None:
    """Fails if the library that judges is not installed."""
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("cleanlab", "labels", "looking for wrong labels") from error


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
    size = _input_size(checked, positions)
    images = _read(checked, positions, size)
    folds = deal_folds(images.labels, images.roots, FOLDS)
    probabilities = _judge(images, folds, _recipe(checked, images, size, device), budget_s)
    accuracy = float((probabilities.argmax(axis=1) == images.labels).mean())
    note(f"labels: networks that had not seen an image agree with its label for {accuracy:.1%} of {len(folds):,}")
    return _tell(checked, images, probabilities)


def _usable(checked: Checked) -> NDArray[np.int64]:
    """Positions of readable images of classes that are large enough; none, if only one class is."""
    labels = checked.survey.images.labels
    readable = np.flatnonzero(checked.facts.readable & (labels != NOWHERE))
    sizes = np.bincount(labels[readable], minlength=len(checked.survey.classes))
    large = sizes >= LEAST_IN_CLASS
    return readable[large[labels[readable]]] if large.sum() > 1 else np.zeros(0, np.int64)


def _input_size(checked: Checked, positions: NDArray[np.int64]) -> int:
    """The largest of the sizes that images have and memory holds."""
    side = ENLARGED * float(np.median(checked.facts.sizes[positions].min(axis=1)))
    count = len(positions)
    fitting = (size for size in SIZES if size <= side and fits_in_memory(count, _preprocessing(size)))
    return next(fitting, SIZES[-1])


def _preprocessing(size: int) -> Preprocessing:
    return Preprocessing(size, "stretch", 1.0, IMAGENET_MEAN, IMAGENET_STD)  # all of the image, whatever its shape


def _read(checked: Checked, positions: NDArray[np.int64], size: int) -> _Images:
    chosen = take(checked.survey.images, positions)
    with counting("reading images", len(positions)) as advance:
        pixels, labels, unreadable = read_prepared(chosen, _preprocessing(size), advance)
    gone = {path for path, _ in unreadable}  # since they were looked at
    positions = positions[[path not in gone for path in chosen.paths]]
    classes, numbered = np.unique(labels, return_inverse=True)
    return _Images(torch.from_numpy(pixels), numbered, classes, positions, checked.roots()[positions])


def _recipe(checked: Checked, images: _Images, size: int, device: str) -> Recipe:
    facts = DataFacts("images", len(images.labels) * (FOLDS - 1) // FOLDS, size, checked.survey.flip_safe)
    settings: dict[str, Any] = {"model": MODEL, "input_size": size, "crop": "pad", "device": device}
    if size > CIFAR_STEM_UP_TO // 2:  # costs no more than a quarter of the size without early shrinking
        settings |= {"stem": "imagenet", "crop_fraction": 1.0}
    return default_recipe(facts, settings)


def _judge(images: _Images, folds: NDArray[np.int64], recipe: Recipe, budget_s: float) -> NDArray[np.float64]:
    """Probabilities (N, K) of networks that have not seen the image."""
    result = np.zeros((len(folds), len(images.classes)))
    recipe = _with_length(recipe, images, budget_s / FOLDS)
    with bar("judging labels") as shown:
        for fold in range(FOLDS):
            held_out = np.flatnonzero(folds == fold)
            logits = _train_without(images, folds != fold, held_out, recipe, _Progress(shown, fold))
            result[held_out] = softmax(logits, fit_temperature(logits, images.labels[held_out]))
    return result


def _with_length(recipe: Recipe, images: _Images, budget_s: float) -> Recipe:
    """As many epochs as usual if there is time for them, else what the time allows."""
    needed_s = recipe.epochs * len(images.labels) * (FOLDS - 1) / FOLDS / _images_per_s(recipe, images)
    return recipe if needed_s <= budget_s else dataclasses.replace(recipe, epochs=0, time_s=budget_s)


def _images_per_s(recipe: Recipe, images: _Images) -> float:
    """How fast training goes here, measured in a few steps."""
    network, batches = _network(recipe, len(images.classes)), _batches(recipe, images, np.arange(len(images.labels)))
    seen, started = 0, time.monotonic()
    for batch, _ in zip(batches.epoch(0), range(_TRIED_STEPS), strict=False):
        network.train()
        pixels = normalized(batch.images.to(select_device(recipe.device)), _preprocessing(recipe.input_size))
        network(pixels).sum().backward()
        if batch.number == 0:  # the first step also prepares
            seen, started = 0, time.monotonic()
        else:
            seen += len(batch.labels)
    return max(seen, 1) / max(time.monotonic() - started, 1e-6)


def _network(recipe: Recipe, num_classes: int) -> nn.Module:
    torch.manual_seed(recipe.seed)
    network = create_model(
        recipe.model, num_classes, input_size=recipe.input_size, stem=recipe.stem, dropout=recipe.dropout
    )
    return network.to(select_device(recipe.device)).to(memory_format=torch.channels_last)


def _augmentation(recipe: Recipe, num_classes: int) -> Augmentation:
    return Augmentation(recipe.input_size, recipe.crop, recipe.flip, False, 0.0, 0.0, num_classes)


def _batches(recipe: Recipe, images: _Images, chosen: NDArray[np.int64]) -> MemoryBatches:
    pixels, labels = images.pixels[chosen], torch.from_numpy(images.labels[chosen])
    return MemoryBatches(pixels, labels, _augmentation(recipe, len(images.classes)), recipe.batch_size, recipe.seed, [])


def _train_without(
    images: _Images, trained: NDArray[np.bool_], held_out: NDArray[np.int64], recipe: Recipe, progress: _Progress
) -> NDArray[np.float32]:
    """Logits of the held-out images, by a network trained on the others."""
    network = _network(recipe, len(images.classes))
    batches = _batches(recipe, images, np.flatnonzero(trained))
    watched = _HeldOut(images, held_out[:_WATCHED], recipe)
    with tempfile.TemporaryDirectory(prefix="featherlight-") as run:
        trainer = Trainer(
            network, recipe, batches, watched, _preprocessing(recipe.input_size), batches.augmentation, Path(run),
            "labels", progress,
        )  # fmt: skip
        try:
            kept = trainer.fit()
        except TrainingStoppedError as error:  # its advice is about runs that can be resumed
            raise TrainingStoppedError(f"looking for wrong labels: {str(error).split(';')[0]}") from error
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


def _tell(checked: Checked, images: _Images, probabilities: NDArray[np.float64]) -> list[Finding]:
    """What cleanlab doubts, the least believed label first."""
    from cleanlab.filter import find_label_issues

    doubted = find_label_issues(images.labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [_finding(checked, images, probabilities, int(place)) for place in doubted]


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
