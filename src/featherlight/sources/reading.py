"""Many images read, resized and stacked, on all cores, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UnreadableImageError
from featherlight.images import Preprocessing, resize_image
from featherlight.sources.base import RGBImage, Split, Unreadable


@dataclass(frozen=True)
class ReadBatch:
    """Consecutive images of a split, those that can be read.

    Attributes:
        positions: index in the split per image, int64 (N,).
        images: N prepared images, uint8 (H, W, 3).
        unreadable: (path, reason) of those left out.
    """

    positions: NDArray[np.int64]
    images: list[RGBImage]
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True)
class PreparedBatch:
    """As :class:`ReadBatch`, with ``images`` resized and stacked: uint8 (N, S, S, 3)."""

    positions: NDArray[np.int64]
    images: NDArray[np.uint8]
    unreadable: tuple[Unreadable, ...]


def read_batches(split: Split, prepare: Callable[[RGBImage], RGBImage], batch_size: int = 64) -> Iterator[ReadBatch]:
    """Reads and prepares a whole split in order, a batch at a time, so that memory stays bounded."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without holding the interpreter's lock
        for start in range(0, len(split), batch_size):
            positions = range(start, min(start + batch_size, len(split)))
            yield _gather(split, positions, list(pool.map(partial(_prepare, split, prepare), positions)))


def prepared_batches(split: Split, preprocessing: Preprocessing, batch_size: int = 64) -> Iterator[PreparedBatch]:
    """Reads and resizes a whole split in order, a batch at a time, so that memory stays bounded."""
    none = np.zeros((0, preprocessing.input_size, preprocessing.input_size, 3), np.uint8)
    for batch in read_batches(split, partial(resize_image, preprocessing=preprocessing), batch_size):
        images = np.stack(batch.images) if batch.images else none
        yield PreparedBatch(batch.positions, images, batch.unreadable)


def find_unreadable(split: Split, preprocessing: Preprocessing) -> list[Unreadable]:
    """Images that cannot be read, as (path, reason)."""
    return [row for batch in prepared_batches(split, preprocessing) for row in batch.unreadable]


def _prepare(split: Split, prepare: Callable[[RGBImage], RGBImage], position: int) -> RGBImage | UnreadableImageError:
    try:
        return prepare(split.read(position))
    except UnreadableImageError as error:
        return error


def _gather(split: Split, positions: range, results: list[RGBImage | UnreadableImageError]) -> ReadBatch:
    good = [
        (k, image) for k, image in zip(positions, results, strict=True) if not isinstance(image, UnreadableImageError)
    ]
    bad = [
        (split.paths[k], error.reason)
        for k, error in zip(positions, results, strict=True)
        if isinstance(error, UnreadableImageError)
    ]
    return ReadBatch(np.array([k for k, _ in good], np.int64), [image for _, image in good], tuple(bad))
