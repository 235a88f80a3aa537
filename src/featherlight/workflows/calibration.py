"""Training images for calibration: a few, as many of each class, always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.exported import IMAGE, TENSOR, Input
from featherlight.errors import DataError, UnreadableImageError, UsageError
from featherlight.images import normalize
from featherlight.model_file import ModelCard
from featherlight.sources.base import Split, take
from featherlight.sources.reading import prepared_batches
from featherlight.workflows.known_images import open_as_trained

NUM_IMAGES = 128
BATCH_SIZE = 16


def calibration_batches(
    card: ModelCard,
    data: str | Path | None = None,
    *,
    input: Input = TENSOR,  # noqa: A002  (as the exported file says it)
    count: int = NUM_IMAGES,
    seed: int = 0,
) -> list[NDArray[Any]]:
    """Images of the training split as batches of an exported file's own input.

    Args:
        card: of the model.
        data: images; by default those it was trained on.
        input: ``tensor``: normalised float32 (N, C, S, S); ``image``: uint8 (1, height, width, 3), one at a time.
        count: about how many images.
        seed: of the choice.

    Raises:
        UsageError: the model does not say what it was trained on.
        DataError: no usable images.
    """
    images = data if data is not None else card.provenance.get("data")
    if not isinstance(images, str | Path):
        raise UsageError("int8 needs a few training images, and the model does not say where they are; name the data")
    split = open_as_trained(images, card.provenance).splits["train"]
    chosen = take(split, choose_balanced(split.labels, count, seed))
    batches = _raw(chosen) if input == IMAGE else _prepared(chosen, card)
    if not batches:
        raise DataError(f"{images}: not one training image can be read")
    return batches


def choose_balanced(labels: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of ``count`` images, classes in turn, in each a random order that follows from the seed."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)  # how many of its class come before it
    seen: dict[int, int] = {}
    for position in order:
        label = int(labels[position])
        turn[position] = seen.get(label, 0)
        seen[label] = turn[position] + 1
    chosen: NDArray[np.int64] = order[np.argsort(turn[order], kind="stable")][:count]
    return chosen


def _prepared(split: Split, card: ModelCard) -> list[NDArray[Any]]:
    batches = prepared_batches(split, card.preprocessing, batch_size=BATCH_SIZE)
    return [normalize(batch.images, card.preprocessing) for batch in batches if len(batch.images)]


def _raw(split: Split) -> list[NDArray[Any]]:
    images: list[NDArray[Any]] = []
    for position in range(len(split)):
        try:
            images.append(split.read(position)[None])
        except UnreadableImageError:  # it was named when the images were opened, or it will be when they are measured
            continue
    return images
