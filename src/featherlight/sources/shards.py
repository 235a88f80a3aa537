"""Images inside of shards: read by their place, whether the shard lies on this disk or comes from a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UnreadableImageError
from featherlight.images import load_image, reason_unreadable
from featherlight.images.opening import MAX_FILE_BYTES
from featherlight.sources.base import RGBImage
from featherlight.sources.remote_shards import RemoteFile

_TRIES = 3  # another process may delete a copy to make room just when it is to be read


def memory_bytes() -> int:
    """The machine's memory: of larger data not all pages stay there from one epoch to the next."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _ChangedError(Exception):
    """The shard is not the one that was walked; what lies at the image's place is another image, or none."""


class Shard(Protocol):
    """One tar file."""

    @property
    def place(self) -> str:
        """Path or URL."""
        ...

    @property
    def version(self) -> str:
        """Changes when the shard changes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Some of its bytes."""
        ...

    def bring(self) -> object:
        """Has it on this disk."""
        ...


@dataclass(frozen=True)
class LocalShard:
    """A shard on this disk.

    Attributes:
        place: its path.
        version: its stamp when it was walked.
    """

    place: str
    version: str

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`Shard`."""
        with open(self.place, "rb") as file:
            status = os.fstat(file.fileno())
            if f"{status.st_size}|{status.st_mtime_ns}" != self.version:
                raise _ChangedError
            file.seek(offset)
            return file.read(size)

    def bring(self) -> None:
        """It is here."""


@dataclass(frozen=True)
class RemoteShard:
    """A shard on a server, read from its copy in the cache folder.

    Attributes:
        file: where it comes from and lies.
        size: bytes.
    """

    file: RemoteFile
    size: int

    @property
    def place(self) -> str:
        """Its URL."""
        return self.file.url

    @property
    def version(self) -> str:
        """What the server says of it."""
        return self.file.stamp

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`Shard`."""
        for _ in range(_TRIES):
            path = self.file.bring()
            try:
                with path.open("rb") as file:
                    if os.fstat(file.fileno()).st_size != self.size:
                        raise _ChangedError
                    file.seek(offset)
                    return file.read(size)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(path)

    def bring(self) -> None:
        """See :class:`Shard`."""
        self.file.bring()


@dataclass(frozen=True)
class ShardReader:
    """Reads image ``i`` out of its shard.

    Attributes:
        shards: all of them.
        numbers: which one holds each image, int64 (N,).
        offsets: where its bytes begin, int64 (N,).
        sizes: how many there are, int64 (N,).
        names: what errors call each image.
    """

    shards: tuple[Shard, ...]
    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: tuple[str, ...]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """See :class:`featherlight.sources.base.Reader`."""
        return load_image(self.encoded(index), self.names[index], at_least)

    def encoded(self, index: int) -> bytes:
        """The image's bytes.

        Raises:
            DownloadError: its shard has to be fetched, and cannot be.
        """
        size = int(self.sizes[index])
        if size > MAX_FILE_BYTES:
            reason = f"too large: files up to {MAX_FILE_BYTES // 2**20} MiB are read"
            raise UnreadableImageError(self.names[index], reason)
        try:
            content: bytes = self.shards[self.numbers[index]].read(int(self.offsets[index]), size)
        except _ChangedError as error:
            reason = "its shard has changed since it was opened"
            raise UnreadableImageError(self.names[index], reason) from error
        except OSError as error:
            raise UnreadableImageError(self.names[index], reason_unreadable(error)) from error
        return content

    def stamp(self, index: int) -> str:
        """Shard, place in it, size, and what tells the shard's version."""
        shard = self.shards[self.numbers[index]]
        version = shard.version.replace("|", "-")
        return f"{shard.place}:{self.offsets[index]}|{self.sizes[index]}|{version}"

    def bring(self, number: int) -> None:
        """Has shard ``number`` on this disk.

        Raises:
            DownloadError: it cannot be had.
        """
        self.shards[number].bring()
