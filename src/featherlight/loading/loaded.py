"""A split's decoded images: from the cache, else decoded now and kept there."""

from __future__ import annotations

import functools
import mmap
import weakref
from collections.abc import Callable

import numpy as np

from featherlight.console import note
from featherlight.loading.cache import DecodedCache, Filling, is_cacheable
from featherlight.loading.decoding import ArrayTarget, Decoder, FileTarget, Kept, decode_all
from featherlight.loading.disk import NotKeptError
from featherlight.loading.stored import Failed, Layout, Rows, StoredImages

Progress = Callable[[int], None]


def load_images(decoder: Decoder, progress: Progress = lambda _: None) -> StoredImages:
    """All images of a split that fits in memory, decoded; the next start finds them in the cache.

    Args:
        decoder: how images are decoded and brought to size.
        progress: is called with how many more images are done.
    """
    return _load_from_disk(decoder, progress, in_memory=True) or _load_into_memory(decoder, progress)


def load_from_disk(decoder: Decoder) -> StoredImages | None:
    """All images of a split that memory does not hold, decoded on disk; None where the disk has no room for them."""
    return _load_from_disk(decoder, lambda _: None, in_memory=False)


@functools.cache
def tell_not_kept(reason: str) -> None:
    """Says once why decoded images do not outlive this process."""
    note(f"decoded images are not kept for the next start: {reason}")


def _load_from_disk(decoder: Decoder, progress: Progress, *, in_memory: bool) -> StoredImages | None:
    if not is_cacheable(decoder.split):
        return None
    try:
        return _decode_or_wait(DecodedCache(decoder, in_memory=in_memory), progress)
    except NotKeptError as error:
        tell_not_kept(str(error))
        return None


def _decode_or_wait(cache: DecodedCache, progress: Progress) -> StoredImages:
    stored = cache.fill_or_wait()
    if isinstance(stored, StoredImages):
        return stored
    with stored as filling:
        for kept in decode_all(cache.decoder, filling.target):
            filling.add(kept)
            progress(len(kept.positions) + len(kept.failed))
        return filling.finish()


def _load_into_memory(decoder: Decoder, progress: Progress) -> StoredImages:
    layout = Layout(len(decoder.split), decoder.stored.input_size)
    shared = mmap.mmap(-1, max(1, layout.pixel_bytes))  # processes that are forked write into it
    pixels = np.frombuffer(shared, np.uint8, layout.pixel_bytes).reshape(layout.count, layout.side, layout.side, 3)
    failed: list[Failed] = []
    for kept in decode_all(decoder, ArrayTarget(pixels)):
        failed += kept.failed
        progress(len(kept.positions) + len(kept.failed))
    return StoredImages(Rows(pixels), layout.count, failed)


class StreamCache:
    """Keeps images on disk while they are streamed, and gives them back once all are there.

    Args:
        decoder: how they are made.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._cache = DecodedCache(decoder, in_memory=False) if is_cacheable(decoder.split) else None
        self._stored: StoredImages | None = None
        self._filling: Filling | None = None

    def open(self) -> StoredImages | None:
        """All images, if they are there; else begins to keep them, unless another process does."""
        if self._cache is None or self._stored is not None:
            return self._stored
        self._stored = self._cache.open()
        if self._stored is None and self._filling is None:
            self._begin(self._cache)
        return self._stored

    @property
    def target(self) -> FileTarget | None:
        """Where to write images; None: they are not kept."""
        return None if self._filling is None else self._filling.target

    def add(self, kept: Kept) -> None:
        """Notes what was written. After the last image the file gets its name."""
        if self._filling is None:
            return
        try:
            self._filling.add(kept)
            if self._filling.is_complete:
                self._stored = self._filling.finish()
                self._filling = None
        except NotKeptError as error:
            self._give_up(error)

    def _begin(self, cache: DecodedCache) -> None:
        try:
            self._filling = cache.fill("streamed")
        except NotKeptError as error:
            self._give_up(error)
        if self._filling is not None:
            weakref.finalize(self, self._filling.discard)

    def _give_up(self, error: NotKeptError) -> None:
        tell_not_kept(str(error))
        self._filling = self._cache = None
