"""Many images decoded and brought to storage size, by processes where that is faster than threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from featherlight.errors import FeatherlightError, UnreadableImageError
from featherlight.images import Preprocessing, resize_image
from featherlight.loading.crops import scale_image
from featherlight.loading.prefetch import prefetch
from featherlight.loading.stored import Failed
from featherlight.sources.base import RGBImage, Split
from featherlight.sources.facts import count_cores

_FEW = 1000  # images; below, starting processes costs more than threads that wait for each other
_BLOCK = 32  # images that are decoded and written in one go


@dataclass(frozen=True)
class Decoder:
    """How a split's images become stored ones.

    Attributes:
        split: the images.
        stored: resize policy and storage size.
        scaled: for training only: a JPEG may be scaled while it is decoded, and PyTorch's filter resizes. The pixels
            differ by a little from the one definition in ``featherlight.images``, and come several times faster.
    """

    split: Split
    stored: Preprocessing
    scaled: bool

    def one(self, position: int) -> RGBImage:
        """Image ``position`` of the split, uint8 (R, R, 3).

        Raises:
            UnreadableImageError: it cannot be decoded.
        """
        if not self.scaled:
            return resize_image(self.split.read(position), self.stored)
        return _shrink(self.split.read(position, at_least=_shorter_side(self.stored)), self.stored)

    def many(self, positions: NDArray[np.int64]) -> Decoded:
        """Several images; those that cannot be read are named instead."""
        good: list[int] = []
        failed: list[Failed] = []
        images: list[RGBImage] = []
        for position in positions.tolist():
            try:
                images.append(self.one(position))
                good.append(position)
            except UnreadableImageError as error:
                failed.append((position, error.reason))
        side = self.stored.input_size
        pixels = np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)
        return Decoded(np.array(good, np.int64), pixels, tuple(failed))


@dataclass(frozen=True)
class Decoded:
    """Some images of a split.

    Attributes:
        positions: in the split, int64 (N,).
        images: at storage size, uint8 (N, R, R, 3).
        failed: images that cannot be read, with the reason.
    """

    positions: NDArray[np.int64]
    images: NDArray[np.uint8]
    failed: tuple[Failed, ...]


@dataclass(frozen=True)
class Kept:
    """What is known of images after they were written away.

    Attributes:
        positions: in the split, int64 (N,).
        checksums: CRC-32 of each, uint32 (N,).
        failed: images that cannot be read, with the reason.
        disk_error: why they could not be written, if so.
    """

    positions: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    failed: tuple[Failed, ...]
    disk_error: str | None = None


class Target(Protocol):
    """Where decoded images are written, by this process and its workers."""

    def write(self, positions: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
        """Writes images to their places.

        Raises:
            OSError: no room.
        """
        ...


@dataclass(frozen=True)
class ArrayTarget:
    """Images kept in an array, which is shared with processes that are forked."""

    pixels: NDArray[np.uint8]

    def write(self, positions: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
        """See :class:`Target`."""
        self.pixels[positions] = images


@dataclass(frozen=True)
class FileTarget:
    """Images kept in a file, each at its place. The file is opened for each block, by whatever process writes it."""

    path: Path

    def write(self, positions: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
        """See :class:`Target`."""
        file = os.open(self.path, os.O_WRONLY)
        try:
            for first, last in _runs(positions):
                _write_all(file, images[first:last], int(positions[first]) * images[0].nbytes)
        finally:
            os.close(file)


def _runs(positions: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Beginning and end of each stretch of consecutive numbers."""
    breaks = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    return pairwise(breaks)


def _write_all(file: int, images: NDArray[np.uint8], offset: int) -> None:
    rest = images.data.cast("B")
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


@dataclass(frozen=True)
class DecodeAndKeep(Dataset[Any]):
    """Decodes blocks of images and writes them to a target; runs in worker processes and threads."""

    decoder: Decoder
    target: Target

    def __getitem__(self, positions: NDArray[np.int64]) -> Kept:
        return keep(self.decoder.many(positions), self.target)


def keep(decoded: Decoded, target: Target) -> Kept:
    """Writes decoded images to a target."""
    checksums = np.array([zlib.crc32(image.data) for image in decoded.images], np.uint32)
    try:
        if len(decoded.positions):
            target.write(decoded.positions, decoded.images)
    except OSError as error:
        return Kept(decoded.positions, checksums, decoded.failed, error.strerror or str(error))
    return Kept(decoded.positions, checksums, decoded.failed)


def decode_all(decoder: Decoder, target: Target) -> Iterator[Kept]:
    """Decodes a whole split on all cores and writes it to ``target``, block by block."""
    count = len(decoder.split)
    blocks = np.array_split(np.arange(count), max(1, -(-count // _BLOCK)))
    work = DecodeAndKeep(decoder, target)
    if count >= _FEW and can_fork():
        yield from run_workers(work, blocks, count_cores(), fork=True)
        return
    yield from prefetch(blocks, work.__getitem__, count_cores())


def can_fork() -> bool:
    """Whether processes can be started that share everything read so far. macOS's own libraries do not bear it."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def run_workers(work: Dataset[Any], keys: Iterable[Any], workers: int, *, fork: bool = False) -> Iterator[Any]:
    """``work[key]`` for each key, in order, computed by worker processes.

    Raises:
        FeatherlightError: a process was killed.
    """
    context = "fork" if fork and workers else None
    loader = DataLoader(
        work, batch_size=None, sampler=list(keys), num_workers=workers, collate_fn=_as_it_is,
        multiprocessing_context=context,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():  # Python 3.12 warns of forking beside threads; the workers use none of them
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            results = iter(loader)
        yield from results
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise FeatherlightError(
            "a process that reads images was killed, perhaps for want of memory; try in a new run: --set workers=1"
        ) from error


def _as_it_is(row: Any) -> Any:
    return row


def _shorter_side(stored: Preprocessing) -> int:
    """So many pixels both sides of an image must have, so that storing it never enlarges it."""
    return round(stored.input_size / stored.crop_fraction) if stored.resize == "crop" else stored.input_size


def _shrink(image: RGBImage, stored: Preprocessing) -> RGBImage:
    """As :func:`featherlight.images.resize_image`, where it does not need parts of pixels; for training only."""
    size = stored.input_size
    if stored.resize == "stretch":
        return scale_image(image, size, size)
    if stored.resize == "pad" or stored.crop_fraction != 1:
        return resize_image(image, stored)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return scale_image(image[top : top + side, left : left + side], size, size)
