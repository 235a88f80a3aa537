"""What makes a file cheap to send and dear to decode, found before it is decoded."""

from __future__ import annotations

import io
import math
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from PIL import Image

MAX_PIXELS = 100_000_000  # an image beyond this is a mistake or an attack: decoded it takes 300 MB
MAX_SIDE = 2**24  # Pillow's resize holds coordinates in float32, exact up to here
MAX_SCANS = 100  # of a JPEG, as libtiff has it; encoders make about ten, and each visits every pixel
MAX_SEGMENTS = 500  # of a JPEG; each holds up to 64 KiB
MAX_VALUES = 500_000  # of a number in a TIFF's directory; Pillow makes an object of each
MAX_RUN_PIXELS = 16_000_000  # of a BMP of runs, where two bytes may stand for millions that Pillow makes in Python
MAX_COMMENTS = 10_000  # in the text variants of PPM; for each Pillow copies up to 1 MiB
MAX_READS = 1_000_000  # pieces that a header is read in

_LARGE = 32_000_000  # pixels; Pillow needs up to 18 bytes for each while it decodes
_COUNTED = 2**20  # bytes; whatever is in less than that is read in a second
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")  # none of those that may stand among a scan's data
_PLAIN = (b"P1", b"P2", b"P3")
_STRIP_OFFSETS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 273, 322, 323, 324
_RUN_LENGTHS = (1, 2)  # BMP's compression with 8 and with 4 bits
_BYTE_TYPES = (1, 2, 6, 7)  # profiles and descriptions, kept as they are
_Decoded = TypeVar("_Decoded")


class RefusedError(Exception):
    """Not decoded; the message is the reason, as a person reads it."""


class PiecewiseBytes(io.BytesIO):
    """A file in memory that may be read in ``MAX_READS`` pieces.

    Pillow walks through headers piece by piece, some of one byte: what takes milliseconds for an honest file takes an
    hour for one that consists of empty comments.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left: float = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file does.

        Raises:
            RefusedError: there were too many pieces.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise RefusedError(f"damaged: in more than {MAX_READS:,} pieces")
        return super().read(size)

    def allow_any(self) -> None:
        """From here on there are pixels, which some decoders read one by one."""
        self._reads_left = math.inf


def as_file(data: bytes) -> io.BytesIO:
    """Bytes as Pillow can read them in bounded time and memory; what the picture costs is seen later.

    Raises:
        RefusedError: a JPEG of too many scans or segments, a TIFF of too many strips, a PPM of too many comments.
    """
    if data.startswith(b"\xff\xd8"):
        _check_segments(data)
    elif data.startswith((b"II", b"MM")):
        _check_directory(data)
    elif data.startswith(_PLAIN) and data.count(b"#") > MAX_COMMENTS:
        raise RefusedError(f"damaged: more than {MAX_COMMENTS:,} comments")
    return io.BytesIO(data) if len(data) < _COUNTED else PiecewiseBytes(data)


def check_size(width: int, height: int) -> None:
    """Refuses sizes of bombs.

    Raises:
        RefusedError: no pixels, or too many.
    """
    if width < 1 or height < 1:
        raise RefusedError("has no pixels")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise RefusedError(f"too large: {width} x {height} pixels, at most {MAX_PIXELS // 10**6} million are read")


def check_picture(image: Image.Image, file: io.BytesIO) -> None:
    """Refuses what would cost too much to decode, by the header that Pillow has read.

    Args:
        image: opened, not loaded.
        file: what :func:`as_file` gave for it.

    Raises:
        RefusedError: too many pixels, also for its kind, or tiles far larger than the picture.
    """
    check_size(*image.size)
    _check_runs(image)
    _check_tiles(image)
    if image.format in ("BMP", "PPM") and isinstance(file, PiecewiseBytes):
        file.allow_any()


def _check_runs(image: Image.Image) -> None:
    is_packed = image.format == "BMP" and image.info.get("compression") in _RUN_LENGTHS
    if is_packed and image.width * image.height > MAX_RUN_PIXELS:
        raise RefusedError(f"too large: a BMP of runs may have {MAX_RUN_PIXELS // 10**6} million pixels")


def _check_tiles(image: Image.Image) -> None:
    """Tiles are decoded whole by libtiff, however little of them the picture needs."""
    tags = getattr(image, "tag_v2", {}) if image.info.get("compression") != "raw" else {}
    sides = [tags.get(_TILE_WIDTH, 1), tags.get(_TILE_HEIGHT, 1)]
    if all(isinstance(side, int) for side in sides):
        width, height = sides
        if width * height > 2 * max(image.width * image.height, 4096**2):
            raise RefusedError(f"damaged: tiles of {width} x {height} in {image.width} x {image.height} pixels")


class ForkSafeLock(AbstractContextManager[None]):
    """A lock that a forked process finds open, whichever thread held it."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_ONE_AT_A_TIME = ForkSafeLock()


def in_turn(decode: Callable[[], _Decoded], width: int, height: int) -> _Decoded:
    """Calls ``decode``; for large images one after the other, whichever threads ask.

    Each may need nearly 2 GB, of which the C library keeps some for the thread that had it: so that happens in a thread
    that ends.
    """
    if width * height <= _LARGE:
        return decode()
    with _ONE_AT_A_TIME, ThreadPoolExecutor(1) as thread:
        return thread.submit(decode).result()


def _check_segments(data: bytes) -> None:
    """Walks through a JPEG as a decoder does, up to its end: what follows is not decoded."""
    position, segments, scans = 2, 0, 0
    while (found := _MARKER.search(data, position)) and found[1] != b"\xd9":
        segments += 1
        scans += found[1] == b"\xda"
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise RefusedError(f"damaged: a JPEG of more than {MAX_SCANS} scans or {MAX_SEGMENTS:,} segments")
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


def _check_directory(data: bytes) -> None:
    """Looks at how many values the entries of a TIFF's first directory have."""
    try:
        entries = list(_read_entries(data))
    except struct.error:  # cut off; Pillow says so
        return
    for tag, kind, count in entries:
        is_costly = kind not in _BYTE_TYPES or tag in (_STRIP_OFFSETS, _TILE_OFFSETS)
        if is_costly and MAX_VALUES < count <= len(data):  # what the file cannot hold, Pillow passes over
            raise RefusedError(f"damaged: a TIFF directory with {count:,} values in one entry")


def _read_entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, type, count) of each entry of the first directory."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2] == 43
    (start,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)
    (count,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", data, start)
    entry = struct.Struct(f"{order}HHQ8x" if is_big else f"{order}HHI4x")
    first = start + (8 if is_big else 2)
    for position in range(first, first + min(count, 2**16) * entry.size, entry.size):
        tag, kind, values = entry.unpack_from(data, position)
        yield tag, kind, values
