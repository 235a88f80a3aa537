"""Decoded images kept on disk from one start to the next, found by their content and how they were decoded.

A file is made beside its place and renamed when it is whole, so nobody ever sees a part of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.errors import UnreadableImageError
from featherlight.loading.decoding import Decoder, FileTarget, Kept
from featherlight.loading.disk import SUFFIX, NotKeptError, decoded_folder, limit_bytes, lock_alone, make_room, remove
from featherlight.loading.stored import Failed, FileRows, Layout, StoredImages, read_end, write_end
from featherlight.sources.base import Split
from featherlight.sources.facts import collect_contents
from featherlight.sources.fingerprint import READ_UP_TO

FORMAT = 1  # goes up when a file, or the pixels in it, would be another for the same images
_WAIT_S = 0.2


class DecodedCache:
    """The decoded images of one split on disk.

    Args:
        decoder: how they are made.
        in_memory: whether memory holds all of them.
    """

    def __init__(self, decoder: Decoder, *, in_memory: bool) -> None:
        self.decoder, self._in_memory = decoder, in_memory
        self.layout = Layout(len(decoder.split), decoder.stored.input_size)
        self._stamps = _digest_stamps(decoder.split)
        self.path = decoded_folder() / f"{_key(decoder, self._stamps)}{SUFFIX}"

    def open(self) -> StoredImages | None:
        """The images, if they are there and whole. A file that is not whole is removed."""
        try:
            file = os.open(self.path, os.O_RDONLY)
        except OSError:
            return None
        try:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            checksums, failed = read_end(file, self.layout)
        except (OSError, ValueError, KeyError, TypeError):
            os.close(file)
            remove(self.path)
            return None
        with suppress(OSError):
            os.utime(self.path)  # used now: others are evicted first
        return self._opened(file, checksums, failed)

    def fill_or_wait(self) -> Filling | StoredImages:
        """Begins to make the file. If another process is making it, waits for that.

        Raises:
            NotKeptError: there is no place for it.
        """
        is_told = False
        while True:
            stored = self.open()
            if stored is not None:
                return stored
            filling = self.fill("whole")
            if filling is not None:
                return filling
            if not is_told:
                note("another process is decoding the same images; waiting for it")
                is_told = True
            time.sleep(_WAIT_S)

    def fill(self, name: str) -> Filling | None:
        """Begins to make the file; None if another process does so under the same name, or has just done so.

        Raises:
            NotKeptError: there is no place for it.
        """
        part = self.path.with_name(f".{self.path.stem}.{name}.part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise NotKeptError(f"{part.parent}: {error.strerror or error}") from error
        try:
            if not lock_alone(file, part):
                os.close(file)
                return None
        except OSError as error:
            os.close(file)
            raise NotKeptError(f"{part.parent}: {error.strerror or error}") from error
        filling = Filling(self, file, part)
        if self.path.exists():  # by a process that finished while this one came
            filling.discard()
            return None
        filling.take_room()
        return filling

    def publish(self, filling: Filling) -> StoredImages:
        """Makes a filled file the cache's, unless the images have changed meanwhile: then it is only used here."""
        fcntl.flock(filling.file, fcntl.LOCK_SH)
        if _digest_stamps(self.decoder.split) == self._stamps:
            filling.part.replace(self.path)
        else:
            filling.part.unlink()
        return self._opened(filling.file, filling.checksums, filling.failed, is_new=True)

    def _opened(
        self, file: int, checksums: NDArray[np.uint32], failed: Sequence[Failed], *, is_new: bool = False
    ) -> StoredImages:
        rows = FileRows(
            file, self.layout, checksums, self.decoder.one, self._drop_damaged,
            in_memory=self._in_memory, is_new=is_new,
        )  # fmt: skip
        return StoredImages(rows, self.layout.count, failed)

    def _drop_damaged(self) -> None:
        note(f"decoded images were damaged in {self.path}; they are decoded anew, and all of them at the next start")
        remove(self.path)


class Filling:
    """A file of the cache while it is made: locked, without its final name.

    Attributes:
        target: where images are written.
        checksums: of what is written, uint32 (N,).
        failed: images that cannot be read.
    """

    def __init__(self, cache: DecodedCache, file: int, part: Path) -> None:
        self._cache, self.file, self.part = cache, file, part
        self.target = FileTarget(part)
        self.checksums = np.zeros(cache.layout.count, np.uint32)
        self.failed: list[Failed] = []
        self._is_done = np.zeros(cache.layout.count, bool)
        self._is_over = False

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def take_room(self) -> None:
        """Gives the file its size, and makes room for it.

        Raises:
            NotKeptError: there is none. The file is gone.
        """
        try:
            os.ftruncate(self.file, 0)  # what another process left
            os.ftruncate(self.file, self._cache.layout.total_bytes)
            make_room(self._cache.layout.total_bytes)
        except OSError as error:
            self.discard()
            raise NotKeptError(f"{self.part.parent}: {error.strerror or error}") from error
        except NotKeptError:
            self.discard()
            raise

    def add(self, kept: Kept) -> None:
        """Notes what has been written.

        Raises:
            NotKeptError: it could not be written. The file is gone.
        """
        if kept.disk_error is not None:
            self.discard()
            raise NotKeptError(f"{self.part.parent}: {kept.disk_error}")
        self.checksums[kept.positions] = kept.checksums
        self._is_done[kept.positions] = True
        for position, reason in kept.failed:
            if not self._is_done[position]:
                self.failed.append((position, reason))
                self._is_done[position] = True

    @property
    def is_complete(self) -> bool:
        """Whether all images are there."""
        return bool(self._is_done.all())

    def finish(self) -> StoredImages:
        """Writes the end and gives the file its name.

        Raises:
            NotKeptError: no room. The file is gone.
        """
        try:
            write_end(self.file, self._cache.layout, self.checksums, self.failed)
            stored = self._cache.publish(self)
        except OSError as error:
            self.discard()
            raise NotKeptError(f"{self.part.parent}: {error.strerror or error}") from error
        self._is_over = True
        return stored

    def discard(self) -> None:
        """Removes the file, unless it is finished."""
        if not self._is_over:
            self._is_over = True
            remove(self.part)
            os.close(self.file)


def is_cacheable(split: Split) -> bool:
    """Whether decoding these images costs anything, and whether they are known again without being read."""
    if not len(split) or limit_bytes() == 0 or split.read.stamp(0) is None:
        return False
    try:
        return split.read.encoded(0) is not None
    except UnreadableImageError:
        return True


def _key(decoder: Decoder, stamps: str) -> str:
    """A name that is the same for the same pixels only.

    Of very many images, and of shards that are fetched one by one, place, size and time stand for the content.
    """
    split, stored = decoder.split, decoder.stored
    made_by = [FORMAT, PIL.__version__, *([torch.__version__] if decoder.scaled else [])]
    policy = {name: value for name, value in asdict(stored).items() if name != "std"}
    digest = hashlib.sha256(json.dumps([made_by, policy, decoder.scaled, len(split)]).encode())
    by_content = len(split) <= READ_UP_TO and split.bring is None
    digest.update(collect_contents(split).astype("<u8").tobytes() if by_content else stamps.encode())
    return digest.hexdigest()[:32]


def _digest_stamps(split: Split) -> str:
    digest = hashlib.sha256()
    for position in range(len(split)):
        digest.update(f"{split.read.stamp(position)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
