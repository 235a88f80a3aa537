"""Decoded images at storage size, to be read in any order: in memory, or in a file of the cache.

A file holds, one behind the other: the pixels of all images, a checksum for each, a description in JSON, and its
length. The end is written last, so a file that was not finished is no file.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.base import RGBImage, Split, Unreadable

_MAGIC = b"FLimages"
_TAIL = struct.Struct("<QI8s")  # length of the description, checksum of checksums and description, magic
Redecode = Callable[[int], RGBImage]
Failed = tuple[int, str]  # position in the split, why it cannot be read


@dataclass(frozen=True)
class Layout:
    """Where things are in a file.

    Attributes:
        count: images.
        side: of each, pixels.
    """

    count: int
    side: int

    @property
    def row_bytes(self) -> int:
        """Of one image."""
        return self.side**2 * 3

    @property
    def pixel_bytes(self) -> int:
        """Of all images."""
        return self.count * self.row_bytes

    @property
    def total_bytes(self) -> int:
        """Of a file, nearly: the description comes on top."""
        return self.pixel_bytes + 4 * self.count + _TAIL.size


class Rows:
    """Images in memory, uint8 (N, R, R, 3)."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels

    def take(self, positions: NDArray[np.int64]) -> Sequence[RGBImage]:
        """Views of these images, not to be written to."""
        return [self._pixels[position] for position in positions.tolist()]


class FileRows(Rows):
    """Images in a file, each compared with its checksum when this process first sees it.

    Where all of them fit in memory the file is mapped, and the operating system keeps it there for every process that
    reads it. Larger files are read image by image: pages of a map would come in one by one, and count as ours.

    Args:
        file: descriptor of the open file, locked as long as it is in use; is closed when this object goes.
        layout: of the file.
        checksums: CRC-32 of each image, uint32 (N,).
        redecode: makes an image anew that is damaged.
        on_damage: is called once when the first damaged image is found.
        in_memory: whether the file is mapped.
        is_new: whether this process has just written it, so that there is nothing to compare.
    """

    def __init__(
        self,
        file: int,
        layout: Layout,
        checksums: NDArray[np.uint32],
        redecode: Redecode,
        on_damage: Callable[[], None],
        *,
        in_memory: bool,
        is_new: bool = False,
    ) -> None:
        self._file, self._layout, self._checksums = file, layout, checksums
        weakref.finalize(self, os.close, file)
        self._redecode, self._on_damage, self._is_damaged = redecode, on_damage, False
        self._is_checked = np.full(layout.count, is_new)
        self._lock = threading.Lock()
        self._map: NDArray[np.uint8] | None = None
        if in_memory and layout.pixel_bytes:
            mapped = mmap.mmap(file, layout.pixel_bytes, access=mmap.ACCESS_READ)
            with suppress(OSError, AttributeError):
                mapped.madvise(mmap.MADV_WILLNEED)
            self._map = np.frombuffer(mapped, np.uint8).reshape(layout.count, layout.side, layout.side, 3)

    def take(self, positions: NDArray[np.int64]) -> Sequence[RGBImage]:
        """These images, not to be written to.

        Raises:
            UnreadableImageError: an image is damaged here, and the original is not readable any more.
        """
        images = [self._row(position) for position in positions.tolist()]
        for k in np.flatnonzero(~self._is_checked[positions]):
            images[k] = self._checked(int(positions[k]), images[k])
        return images

    def _row(self, position: int) -> RGBImage:
        if self._map is not None:
            row: RGBImage = self._map[position]
            return row
        side = self._layout.side
        pixels = np.zeros((side, side, 3), np.uint8)
        with suppress(OSError):  # then the checksum is wrong
            os.preadv(self._file, [pixels.data.cast("B")], position * self._layout.row_bytes)
        return pixels

    def _checked(self, position: int, image: RGBImage) -> RGBImage:
        if zlib.crc32(image.data) == self._checksums[position]:
            self._is_checked[position] = True
            return image
        with self._lock:
            if not self._is_damaged:
                self._is_damaged = True
                self._on_damage()
        return self._redecode(position)


class StoredImages:
    """Images of a split at storage size; those that could be read.

    ``images[rows]`` gives the images at these places among the readable ones, as a sequence of uint8 (R, R, 3).

    Attributes:
        positions: in the split, of each image that can be read; int64 (N,), ascending.
        is_readable: for each image of the split, whether it can be read.
        failed: those that cannot, with the reason.
    """

    def __init__(self, rows: Rows, count: int, failed: Sequence[Failed]) -> None:
        self._rows = rows
        self.failed = tuple(sorted(failed))
        self.is_readable = np.ones(count, bool)
        self.is_readable[[position for position, _ in failed]] = False
        self.positions = np.flatnonzero(self.is_readable)

    def unreadable(self, split: Split) -> list[Unreadable]:
        """(path, reason) of the images that cannot be read."""
        return [(split.paths[position], reason) for position, reason in self.failed]

    def __getitem__(self, rows: NDArray[np.int64]) -> Sequence[RGBImage]:
        return self.take(self.positions[rows])

    def take(self, positions: NDArray[np.int64]) -> Sequence[RGBImage]:
        """The images at these places in the split, all of them readable."""
        return self._rows.take(positions)


def write_end(file: int, layout: Layout, checksums: NDArray[np.uint32], failed: Sequence[Failed]) -> None:
    """Makes a file whole whose pixels are written.

    Raises:
        OSError: no room.
    """
    description = json.dumps({"count": layout.count, "side": layout.side, "failed": list(failed)}).encode()
    end = checksums.astype("<u4").tobytes() + description
    end += _TAIL.pack(len(description), zlib.crc32(end), _MAGIC)
    os.ftruncate(file, layout.pixel_bytes)
    written = 0
    while written < len(end):
        written += os.pwrite(file, end[written:], layout.pixel_bytes + written)


def read_end(file: int, layout: Layout) -> tuple[NDArray[np.uint32], tuple[Failed, ...]]:
    """Checksums of the images, and which are missing.

    Raises:
        ValueError: not a whole file of this layout.
        OSError: it cannot be read.
    """
    size = os.fstat(file).st_size
    if size < layout.total_bytes:
        raise ValueError("cut off")
    length, checksum, magic = _TAIL.unpack(os.pread(file, _TAIL.size, size - _TAIL.size))
    if magic != _MAGIC or size != layout.total_bytes + length:
        raise ValueError("not as long as it says")
    end = os.pread(file, 4 * layout.count + length, layout.pixel_bytes)
    if zlib.crc32(end) != checksum:
        raise ValueError("damaged")
    description: dict[str, Any] = json.loads(end[4 * layout.count :])
    if (description["count"], description["side"]) != (layout.count, layout.side):
        raise ValueError("of other images")
    failed = tuple((int(position), str(reason)) for position, reason in description["failed"])
    return np.frombuffer(end, "<u4", layout.count).astype(np.uint32), failed
