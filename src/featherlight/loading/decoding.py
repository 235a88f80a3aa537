"""Many images decoded and brought to storage size, by processes where that is faster than threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from featherlight.errors import FeatherlightError, UnreadableImageError
from featherlight.images import Preprocessing, quiet_pillow, resize_image
from featherlight.loading.crops import scale_image
from featherlight.loading.prefetch import prefetch
from featherlight.loading.stored import Failed
from featherlight.sources.base import RGBImage, Split
from featherlight.sources.facts import count_cores

_FEW = 1000  # images; below, starting processes costs more than threads that wait for each other
Row = tuple[int, RGBImage | str]  # position, and the image or why it cannot be read


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

    def each(self, positions: NDArray[np.int64]) -> Iterator[Row]:
        """Several images, one behind the other; in place of one that cannot be read comes the reason."""
        with quiet_pillow():
            for position in positions.tolist():
                try:
                    yield position, self.one(position)
                except UnreadableImageError as error:
                    yield position, error.reason


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


def stack(rows: Iterable[Row], side: int) -> Decoded:
    """Rows as one array."""
    good: list[tuple[int, RGBImage]] = []
    failed: list[Failed] = []
    for position, image in rows:
        if isinstance(image, str):
            failed.append((position, image))
        else:
            good.append((position, image))
    images = np.stack([image for _, image in good]) if good else np.zeros((0, side, side, 3), np.uint8)
    return Decoded(np.array([position for position, _ in good], np.int64), images, tuple(failed))


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

    def writing(self) -> AbstractContextManager[Callable[[int, RGBImage], None]]:
        """Gives what writes an image to its place; that raises OSError where there is no room."""
        ...


@dataclass(frozen=True)
class ArrayTarget:
    """Images kept in an array, which is shared with processes that are forked."""

    pixels: NDArray[np.uint8]

    @contextmanager
    def writing(self) -> Iterator[Callable[[int, RGBImage], None]]:
        """See :class:`Target`."""
        yield self.pixels.__setitem__


@dataclass(frozen=True)
class FileTarget:
    """Images kept in a file, each at its place."""

    path: Path

    @contextmanager
    def writing(self) -> Iterator[Callable[[int, RGBImage], None]]:
        """See :class:`Target`. Every process opens the file for itself."""
        file = os.open(self.path, os.O_WRONLY)
        try:
            yield partial(_write_row, file)
        finally:
            os.close(file)


def _write_row(file: int, position: int, image: RGBImage) -> None:
    rest, offset = np.ascontiguousarray(image).data.cast("B"), position * image.nbytes
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def keep(rows: Iterable[Row], target: Target) -> Kept:
    """Writes images to a target, each as soon as it comes: memory that is used again at once costs least."""
    good: list[tuple[int, int]] = []
    failed: list[Failed] = []
    disk_error = None
    try:
        with target.writing() as write:
            for position, image in rows:
                if isinstance(image, str):
                    failed.append((position, image))
                else:
                    write(position, image)
                    good.append((position, zlib.crc32(image.data)))
    except OSError as error:
        disk_error = error.strerror or str(error)
    positions, checksums = np.array(good, np.int64).reshape(-1, 2).T
    return Kept(positions, checksums.astype(np.uint32), tuple(failed), disk_error)


@dataclass(frozen=True)
class DecodeAndKeep(Dataset[Any]):
    """Decodes blocks of images and writes them to a target; runs in worker processes and threads."""

    decoder: Decoder
    target: Target

    def __getitem__(self, positions: NDArray[np.int64]) -> Kept:
        return keep(self.decoder.each(positions), self.target)


def decode_all(decoder: Decoder, target: Target) -> Iterator[Kept]:
    """Decodes a whole split on all cores and writes it to ``target``, block by block."""
    count = len(decoder.split)
    work = DecodeAndKeep(decoder, target)
    if count >= _FEW and can_fork():
        yield from run_workers(work, _blocks(count, 128), count_cores(), fork=True)
    else:
        yield from prefetch(_blocks(count, 16), work.__getitem__, count_cores())


def _blocks(count: int, size: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(count), max(1, -(-count // size)))


def can_fork() -> bool:
    """Whether processes can be started that share everything read so far. macOS's own libraries do not bear it."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def run_workers(work: Dataset[Any], keys: Iterable[Any], workers: int, *, fork: bool = False) -> Iterator[Any]:
    """``work[key]`` for each key, in order, computed by worker processes. They start at once.

    Raises:
        FeatherlightError: a process was killed.
    """
    context = "fork" if fork and workers else None
    loader = DataLoader(
        work, batch_size=None, sampler=list(keys), num_workers=workers, collate_fn=_as_it_is,
        multiprocessing_context=context,
    )  # fmt: skip
    with warnings.catch_warnings():  # Python 3.12 warns of forking beside threads; the workers use none of them
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        results = iter(loader)
    return _killed_explained(results)


def _killed_explained(results: Iterator[Any]) -> Iterator[Any]:
    try:
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
    if image.shape[:2] == (size, size) and stored.crop_fraction == 1:
        return image
    if stored.resize == "stretch":
        return scale_image(image, size, size)
    if stored.resize == "pad" or stored.crop_fraction != 1:
        return resize_image(image, stored)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return scale_image(image[top : top + side, left : left + side], size, size)
