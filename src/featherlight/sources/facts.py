"""What is known about each image of a split: content, pixels, looks, size. Found on all cores, remembered.

What was found once is kept in the cache folder under the image's stamp (path, size and time for files), so the next
start reads nothing that has not changed. The memory is a convenience: damaged, locked or on a read-only disk it costs
time, nothing else.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray

from featherlight.errors import UnreadableImageError
from featherlight.files import cache_folder
from featherlight.images import describe_image, load_image
from featherlight.sources.base import RGBImage, Split, Unreadable
from featherlight.sources.looks import THUMB_SIZE, describe_looks

Progress = Callable[[int], None]

_TABLE = """CREATE TABLE IF NOT EXISTS facts (stamp BLOB PRIMARY KEY, content INTEGER NOT NULL, pixels INTEGER,
    looks INTEGER, thumb BLOB, height INTEGER, width INTEGER, mode TEXT, format TEXT, animated INTEGER,
    mean REAL, deviation REAL, low INTEGER, high INTEGER) WITHOUT ROWID"""
_COLUMNS = "content, pixels, looks, thumb, height, width, mode, format, animated, mean, deviation, low, high"
_NUM_COLUMNS = _COLUMNS.count(",") + 1
_BLOCK = 512  # images between two looks at the memory
_PART = 16  # images handed to a thread at once
_FETCHED_AT_A_TIME = 16  # images on the network are waited for, not computed
_MAX_BYTES = 2 * 2**30  # of the memory; then it begins anew
_Row = tuple[Any, ...]  # the columns above; pixels and all behind it are None while only the content is known
_Key = bytes | None
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Facts:
    """What is known about N images, a value an image in every column; zeros where an image cannot be read.

    Attributes:
        readable: whether the image can be decoded.
        content: 64-bit hash of the image as stored; of its pixels where only those are stored.
        pixels: 64-bit hash of shape and pixels: equal for lossless copies in any format.
        looks: perceptual hash.
        thumbs: uint8 (N, 16, 16), grey.
        sizes: (height, width) as a person sees it, int32 (N, 2).
        modes: how pixels are stored, Pillow's names: ``RGB``, ``L``, ``P``, ``CMYK``, ...
        formats: ``JPEG``, ``PNG``, ...; empty where only pixels are stored.
        animated: whether there is more than one frame.
        tones: mean, standard deviation, 1st and 99th percentile of the grey levels 0 to 255, float32 (N, 4).
        reasons: position -> why the image cannot be read.
    """

    readable: NDArray[np.bool_]
    content: NDArray[np.uint64]
    pixels: NDArray[np.uint64]
    looks: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    modes: tuple[str, ...]
    formats: tuple[str, ...]
    animated: NDArray[np.bool_]
    tones: NDArray[np.float32]
    reasons: dict[int, str]

    def unreadable(self, split: Split) -> list[Unreadable]:
        """(path, reason) of what cannot be read."""
        return [(split.paths[position], reason) for position, reason in self.reasons.items()]


def take_facts(facts: Facts, positions: NDArray[np.int64]) -> Facts:
    """The facts of some of the images, in that order."""
    picked: dict[str, Any] = {}
    for name in (field.name for field in fields(facts) if field.name != "reasons"):
        column = getattr(facts, name)
        picked[name] = tuple(column[k] for k in positions) if isinstance(column, tuple) else column[positions]
    known = enumerate(positions.tolist())
    return Facts(**picked, reasons={new: facts.reasons[old] for new, old in known if old in facts.reasons})


def pixel_hash(image: RGBImage) -> int:
    """A 64-bit number that depends on nothing but shape and pixels."""
    return _hash64(repr(image.shape).encode(), np.ascontiguousarray(image).data)


def collect_facts(split: Split, progress: Progress = lambda _: None) -> Facts:
    """Decodes every image once, on all cores, unless it is remembered.

    Args:
        split: images; their labels play no part.
        progress: is called with how many more images are done.
    """
    rows, reasons = _collect(split, _find_facts, is_enough=lambda row: row[1] is not None, progress=progress)
    return Facts(
        readable=np.array([row is not None for row in rows], bool),
        content=_unsigned(rows, 0),
        pixels=_unsigned(rows, 1),
        looks=_unsigned(rows, 2),
        thumbs=_thumbs(rows),
        sizes=np.array([(row[4], row[5]) if row else (0, 0) for row in rows], np.int32).reshape(-1, 2),
        modes=tuple(str(row[6]) if row else "" for row in rows),
        formats=tuple(str(row[7]) if row else "" for row in rows),
        animated=np.array([bool(row and row[8]) for row in rows], bool),
        tones=np.array([row[9:13] if row else (0, 0, 0, 0) for row in rows], np.float32).reshape(-1, 4),
        reasons=reasons,
    )


def collect_contents(split: Split, progress: Progress = lambda _: None) -> NDArray[np.uint64]:
    """64-bit hash of each image as it is stored, uint64 (N,); 0 for what cannot be read. Nothing is decoded."""
    rows, _ = _collect(split, _find_content, is_enough=lambda _: True, progress=progress)
    return _unsigned(rows, 0)


def _collect(
    split: Split, find: Callable[[Split, int], _Row], is_enough: Callable[[_Row], bool], progress: Progress
) -> tuple[list[_Row | None], dict[int, str]]:
    """The row of each image, remembered or found; None and a reason for those that cannot be read."""
    rows: list[_Row | None] = []
    reasons: dict[int, str] = {}
    with _Memory() as memory, ThreadPoolExecutor(_threads(split)) as pool:
        for block in _blocks(len(split)):
            keys = _map(pool, partial(_key, split), block)
            known: dict[_Key, _Row] = {key: row for key, row in memory.recall(keys).items() if is_enough(row)}
            new = [k for k, key in enumerate(keys) if key not in known]
            found: list[_Row | str] = [known.get(key, ()) for key in keys]
            for k, row in zip(
                new, _map(pool, partial(_find_safely, split, find), [block[k] for k in new]), strict=True
            ):
                found[k] = row
            for position, row in zip(block, found, strict=True):
                rows.append(None if isinstance(row, str) else row)
                if isinstance(row, str):
                    reasons[position] = row
            memory.remember(
                [(k, r) for k, r in zip(keys, found, strict=True) if k and k not in known and not isinstance(r, str)]
            )
            progress(len(block))
    return rows, reasons


def _blocks(count: int) -> Iterator[range]:
    return (range(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _map(pool: Executor, function: Callable[[int], _Result], numbers: Sequence[int]) -> list[_Result]:
    """As ``pool.map``, several numbers at a time: for a small image handing it over takes longer than reading it."""
    parts = [numbers[start : start + _PART] for start in range(0, len(numbers), _PART)]
    return [result for results in pool.map(lambda part: [function(k) for k in part], parts) for result in results]


def _find_safely(split: Split, find: Callable[[Split, int], _Row], position: int) -> _Row | str:
    try:
        return find(split, position)
    except UnreadableImageError as error:
        return error.reason


def _find_content(split: Split, position: int) -> _Row:
    encoded = split.read.encoded(position)
    content = pixel_hash(split.read(position)) if encoded is None else _hash64(encoded)
    return (content, *[None] * (_NUM_COLUMNS - 1))


def _find_facts(split: Split, position: int) -> _Row:
    encoded = split.read.encoded(position)
    if encoded is None:
        image, kind = split.read(position), ("RGB", "", False)
    else:
        image, kind = load_image(encoded, split.paths[position]), describe_image(encoded)
    pixels = pixel_hash(image)
    content = pixels if encoded is None else _hash64(encoded)
    looks, thumb, tones = describe_looks(image)
    return (content, pixels, looks, thumb.tobytes(), *image.shape[:2], *kind, *tones)


def _key(split: Split, position: int) -> _Key:
    """Another Pillow may decode other pixels, so what an older one found does not count."""
    stamp = split.read.stamp(position)
    if stamp is None:
        return None
    return hashlib.blake2b(f"{PIL.__version__}|{stamp}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _hash64(*parts: bytes | memoryview) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


def _unsigned(rows: list[_Row | None], column: int) -> NDArray[np.uint64]:
    return np.array([row[column] if row else 0 for row in rows], np.uint64)


def _thumbs(rows: list[_Row | None]) -> NDArray[np.uint8]:
    blank = bytes(THUMB_SIZE**2)
    return np.frombuffer(b"".join(row[3] if row else blank for row in rows), np.uint8).reshape(
        -1, THUMB_SIZE, THUMB_SIZE
    )


def _threads(split: Split) -> int:
    on_network = any("://" in path for path in split.paths)
    return max(_FETCHED_AT_A_TIME, count_cores()) if on_network else count_cores()


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Memory:
    """Rows by stamp in one SQLite file, which several processes may use at once."""

    def __init__(self) -> None:
        self._file = cache_folder() / "facts-2.sqlite"
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> _Memory:
        self._connection = self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def recall(self, keys: list[_Key]) -> dict[bytes, _Row]:
        """What is remembered under these keys."""
        wanted = [key for key in keys if key is not None]
        if self._connection is None or not wanted:
            return {}
        marks = ",".join("?" * len(wanted))
        try:
            query = f"SELECT stamp, {_COLUMNS} FROM facts WHERE stamp IN ({marks})"  # noqa: S608  (only marks and names)
            return {row[0]: _loaded(row[1:]) for row in self._connection.execute(query, wanted) if _is_sound(row[1:])}
        except sqlite3.Error as error:
            self._give_up(error)
            return {}

    def remember(self, rows: list[tuple[bytes, _Row]]) -> None:
        """Keeps what was found."""
        if self._connection is None or not rows:
            return
        marks = ",".join("?" * (1 + _NUM_COLUMNS))
        try:
            with self._connection:
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO facts VALUES ({marks})",  # noqa: S608  (only marks)
                    [(key, *_stored(row)) for key, row in rows],
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def _open(self) -> sqlite3.Connection | None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.exists() and self._file.stat().st_size > _MAX_BYTES:
                self._file.unlink()
            connection = sqlite3.connect(self._file, timeout=30)
        except (OSError, sqlite3.Error):
            return None
        try:
            connection.execute("PRAGMA synchronous = OFF")  # a torn file is noticed and made anew
            connection.execute(_TABLE)
        except sqlite3.Error as error:
            connection.close()
            self._discard_if_damaged(error)
            return None
        return connection

    def _give_up(self, error: sqlite3.Error) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._discard_if_damaged(error)

    def _discard_if_damaged(self, error: sqlite3.Error) -> None:
        if type(error) is sqlite3.DatabaseError:  # "malformed", "not a database"; locked and full are subclasses
            with suppress(OSError):
                self._file.unlink()


def _stored(row: _Row) -> _Row:  # SQLite's integers are signed
    return tuple(int(np.uint64(v).astype(np.int64)) if k < 3 and v is not None else v for k, v in enumerate(row))


def _loaded(row: _Row) -> _Row:
    return tuple(v % 2**64 if k < 3 and v is not None else v for k, v in enumerate(row))


def _is_sound(row: _Row) -> bool:
    """Whether a row holds what this module writes; the file may be anybody's."""
    content, pixels, looks, thumb, height, width, mode, kind, animated, mean, deviation, low, high = row
    if type(content) is not int:
        return False
    if pixels is None:
        return True
    whole = all(type(value) is int for value in (pixels, looks, height, width, animated, low, high))
    real = all(type(value) is float for value in (mean, deviation))
    texts = isinstance(mode, str) and isinstance(kind, str)
    return whole and real and texts and isinstance(thumb, bytes) and len(thumb) == THUMB_SIZE**2
