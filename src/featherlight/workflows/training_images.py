"""From the training split to batches, as the recipe wants them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.console import counting, note
from featherlight.devices import select_device
from featherlight.errors import DataError
from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import (
    MemoryBatches,
    StreamedBatches,
    TrainBatches,
    fits_in_memory,
    storage_preprocessing,
)
from featherlight.loading.decoding import Decoder
from featherlight.loading.loaded import load_images
from featherlight.sources.base import Source, Split
from featherlight.training.balance import class_weights, describe_weights
from featherlight.training.recipe import Recipe


def load_training_images(
    split: Split, preprocessing: Preprocessing, augmentation: Augmentation, recipe: Recipe
) -> TrainBatches:
    """The training split as batches: from memory or the cache where images fit, else decoded while training.

    Raises:
        DataError: not one image can be read.
    """
    stored = storage_preprocessing(preprocessing, augmentation)
    device, balanced = select_device(recipe.device), recipe.balance == "sampler"
    if not fits_in_memory(len(split), stored):
        note(f"{len(split):,} images do not fit in memory; {recipe.workers} processes read them while training")
        return StreamedBatches(
            split, preprocessing, augmentation, recipe.batch_size, recipe.seed, recipe.workers, recipe.strict, device,
            balanced=balanced, weights=_image_weights(split, np.arange(len(split))), repeats=recipe.repeats,
        )  # fmt: skip
    with counting("reading images", len(split)) as advance:
        images = load_images(Decoder(split, stored, scaled=True), advance)
    unreadable = images.unreadable(split)
    if not len(images.positions):
        path, reason = unreadable[0]
        raise DataError(f"not one training image can be read; the first: {path}: {reason}")
    labels = torch.from_numpy(split.labels[images.positions])
    weights = _image_weights(split, images.positions)
    return MemoryBatches(
        images, labels, augmentation, recipe.batch_size, recipe.seed, unreadable, device, balanced, weights,
        recipe.repeats,
    )  # fmt: skip


def _image_weights(split: Split, positions: NDArray[np.int64]) -> torch.Tensor | None:
    """How much each image counts, on average 1, so that the learning rate keeps its meaning."""
    if split.weights is None:
        return None
    weights = split.weights[positions]
    return torch.from_numpy(weights / weights.mean())


def weigh_classes(recipe: Recipe, source: Source) -> torch.Tensor | None:
    """How much each class counts in the loss, shown to the person; None: all alike."""
    if recipe.balance != "weights":
        return None
    weights = class_weights(source.splits["train"].labels, len(source.classes))
    note(f"class weights: {describe_weights(weights, source.classes)}")
    return torch.from_numpy(weights)


def augmentation_of(recipe: Recipe, num_classes: int) -> Augmentation:
    """What this recipe does to training images."""
    return Augmentation(
        recipe.train_size or recipe.input_size, recipe.crop, recipe.flip, recipe.trivial_augment, recipe.mixup,
        recipe.cutmix, num_classes, recipe.crop_area, recipe.auto_augment, recipe.color_jitter, recipe.random_erasing,
        recipe.alternating_flip, recipe.shift, recipe.shift_fill,
    )  # fmt: skip
