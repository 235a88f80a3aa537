"""Small networks that a check trains on parts of the data: images in memory, one network, what it says of the rest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featherlight.console import counting
from featherlight.devices import select_device
from featherlight.errors import TrainingStoppedError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from featherlight.kernels.library import prepare_kernels
from featherlight.loading.batches import MemoryBatches, fits_in_memory
from featherlight.loading.decoding import Decoder
from featherlight.loading.loaded import load_images
from featherlight.metrics import cross_entropy, macro_scores
from featherlight.models.engine import infer, normalized
from featherlight.models.registry import create_model
from featherlight.sources.base import take
from featherlight.sources.findings import Checked
from featherlight.training.checkpoint import Origin
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.speed.settle import plan_of
from featherlight.training.speed.step import TrainingStep, plan_threads
from featherlight.training.trainer import Observer, Trainer, Validation
from featherlight.training.validation import BATCH_SIZE as VALIDATION_BATCH
from featherlight.workflows.training_images import augmentation_of

LEAST_IN_CLASS = 10  # of fewer images nothing can be learned about
ENLARGED = 1.3  # times at most: beyond, a larger input shows nothing more
_TRIED_STEPS = 4  # to measure the speed


@dataclass(frozen=True)
class CheckedImages:
    """Images that take part, decoded at the network's size.

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


def of_large_classes(checked: Checked, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of ``positions`` whose class has enough of them; none, if only one class has."""
    labels = checked.survey.images.labels[positions]
    large = np.bincount(labels, minlength=len(checked.survey.classes)) >= LEAST_IN_CLASS
    return positions[large[labels]] if large.sum() > 1 else np.zeros(0, np.int64)


def fitting_sizes(checked: Checked, positions: NDArray[np.int64], sizes: list[int]) -> list[int]:
    """Those of ``sizes`` that images and memory are large enough for."""
    side = ENLARGED * float(np.median(checked.facts.sizes[positions].min(axis=1)))
    return [size for size in sizes if size <= side and fits_in_memory(len(positions), preprocessing_of_side(size))]


def preprocessing_of_side(size: int) -> Preprocessing:
    """All of the image, whatever its shape."""
    return Preprocessing(size, "stretch", 1.0, IMAGENET_MEAN, IMAGENET_STD)


def read_checked(checked: Checked, positions: NDArray[np.int64], size: int) -> CheckedImages:
    """Decodes images; some may have gone since they were looked at."""
    chosen = take(checked.survey.images, positions)
    with counting("reading images", len(positions)) as advance:
        stored = load_images(Decoder(chosen, preprocessing_of_side(size), scaled=True), advance)
    pixels = np.stack(list(stored[np.arange(len(stored.positions))]))
    positions = positions[stored.positions]
    classes, numbered = np.unique(chosen.labels[stored.positions], return_inverse=True)
    return CheckedImages(torch.from_numpy(pixels), numbered, classes, positions, checked.roots()[positions])


def checking_recipe(facts: DataFacts, settings: Mapping[str, object]) -> Recipe:
    """What training would choose for a network of a check: whole images, fresh weights, our kernels on a CPU."""
    on_cpu = select_device(str(settings["device"])).type == "cpu"
    if on_cpu:
        prepare_kernels()
    usual = {"crop": "pad", "crop_fraction": 1.0, "pretrained": "none", "kernels": "on" if on_cpu else "off"}
    return default_recipe(facts, {**usual, **settings})


def images_per_s(recipe: Recipe, num_classes: int) -> float:
    """How fast training goes here, measured in a few steps; the first of them also prepares."""
    step = TrainingStep(make_network(recipe, num_classes).train(), plan_of(recipe))
    noise = torch.randint(256, (recipe.batch_size, recipe.input_size, recipe.input_size, 3), dtype=torch.uint8)
    pixels = normalized(noise.to(select_device(recipe.device)), preprocessing_of_side(recipe.input_size))
    with plan_threads(step.plan):
        step.backward(step.forward(pixels).sum())
        started = time.monotonic()
        for _ in range(_TRIED_STEPS):
            output = step.forward(pixels).sum()
            step.backward(output)
            output.item()  # waits for the device
        return _TRIED_STEPS * recipe.batch_size / (time.monotonic() - started)


def make_network(recipe: Recipe, num_classes: int) -> nn.Module:
    """With fresh weights, on the device; the same for the same seed."""
    torch.manual_seed(recipe.seed)
    network = create_model(
        recipe.model, num_classes, input_size=recipe.input_size, stem=recipe.stem, dropout=recipe.dropout
    )
    return network.to(select_device(recipe.device)).to(memory_format=torch.channels_last)


def train_on(
    images: CheckedImages,
    trained: NDArray[np.int64],
    watched: NDArray[np.int64],
    recipe: Recipe,
    observer: Observer,
    what_for: str,
) -> nn.Module:
    """A network trained on some of the images.

    Args:
        images: all.
        trained: places of those to train on; one that stands twice is shown twice an epoch.
        watched: places of those to measure on after each epoch.
        recipe: how.
        observer: is told how it goes.
        what_for: for messages.

    Raises:
        TrainingStoppedError: interrupted or diverged.
    """
    network = make_network(recipe, len(images.classes))
    pixels, labels = images.pixels[trained], torch.from_numpy(images.labels[trained])
    augmentation = augmentation_of(recipe, len(images.classes))
    batches = MemoryBatches(pixels, labels, augmentation, recipe.batch_size, recipe.seed, [])
    learner = Learner(network, recipe, preprocessing_of_side(recipe.input_size), augmentation)
    trainer = Trainer(learner, batches, Judged(images, watched, recipe), None, Origin("check"), observer)
    try:
        return trainer.fit()
    except TrainingStoppedError as error:  # its advice is about runs that can be resumed
        reason = str(error).split(";")[0].split(". ")[0]
        raise TrainingStoppedError(f"{what_for}: {reason}") from error


@dataclass(frozen=True)
class Judged:
    """Images that a network is measured on: a :class:`featherlight.training.trainer.Validator`."""

    images: CheckedImages
    places: NDArray[np.int64]
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, model: nn.Module) -> Validation:
        """See :class:`featherlight.training.trainer.Validator`."""
        logits, labels = self.logits(model), self.images.labels[self.places]
        predicted = logits.argmax(axis=1)
        scores = macro_scores(labels, predicted, len(self.images.classes))
        return Validation(cross_entropy(logits, labels), float((predicted == labels).mean()), scores["macro_f1"])

    def part(self, count: int) -> Judged:
        """See :class:`featherlight.training.trainer.Validator`."""
        return dataclasses.replace(self, places=self.places[:count])

    def logits(self, model: nn.Module) -> NDArray[np.float32]:
        """Logits (N, K)."""
        device, preprocessing = select_device(self.recipe.device), preprocessing_of_side(self.recipe.input_size)
        parts = np.array_split(self.places, max(1, len(self.places) // VALIDATION_BATCH))
        batches = (normalized(self.images.pixels[part].to(device), preprocessing) for part in parts)
        return np.concatenate([infer(model, batch).cpu().numpy() for batch in batches])
