"""Images in such numbers that they are answered part by part.

A part holds names, not images: it is small, crosses process borders, and reads its images one after the other wherever
it has come to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

from featherlight.errors import DataError, UnreadableImageError
from featherlight.images import open_file
from featherlight.sources.manifest.remote import RemoteReader, is_url
from featherlight.sources.manifest.source import locate
from featherlight.sources.stores import Store, is_stored, store_of

_ROWS_AT_ONCE = 32  # of a table, in memory


@dataclass(frozen=True)
class LazyImage:
    """An image that is fetched when it is decoded: a file for :func:`featherlight.images.load_image`.

    Attributes:
        fetch: gives the bytes, or raises UnreadableImageError.
    """

    fetch: Callable[[], bytes]

    def read(self) -> bytes:
        """All of it."""
        return self.fetch()

    def seekable(self) -> bool:
        """It is read once."""
        return False


Image: TypeAlias = str | LazyImage


class Part(Protocol):
    """Some images, in order. Can be pickled."""

    def __len__(self) -> int:
        """How many."""
        ...

    def images(self) -> Iterator[tuple[str, Image]]:
        """The name of each image as answers show it, and the image itself.

        Raises:
            DataError: a table cannot be read any more.
        """
        ...

    def key(self) -> str:
        """Parts with the same key name the same images."""
        ...


@dataclass(frozen=True)
class NamedImages:
    """A part whose images are files.

    Attributes:
        names: paths and addresses.
        folder: that relative paths start from, absolute.
        store: of the addresses in its bucket; other buckets are reached as the environment says.
    """

    names: tuple[str, ...]
    folder: str
    store: Store | None = None

    def __len__(self) -> int:
        return len(self.names)

    def images(self) -> Iterator[tuple[str, Image]]:
        """See :class:`Part`."""
        return ((name, find_image(name, self.folder, self.store)) for name in self.names)

    def key(self) -> str:
        """See :class:`Part`."""
        return "\n".join(_place(name, self.folder) for name in self.names)


@dataclass(frozen=True)
class TableRows:
    """A part whose images lie in a Parquet file: whole row groups, since less cannot be read.

    Attributes:
        file: path or address, as it is shown.
        folder: that a relative path starts from, absolute.
        store: of the address; None: ``file`` is a path.
        column: holds encoded images, or these beside the names they once had, as the library ``datasets`` writes.
        name_column: names the images; None: they are called by their row.
        groups: numbers of the row groups, one behind the other.
        first: number of the first row in the file.
        rows: how many.
    """

    file: str
    folder: str
    store: Store | None
    column: str
    name_column: str | None
    groups: tuple[int, ...]
    first: int
    rows: int

    def __len__(self) -> int:
        return self.rows

    def images(self) -> Iterator[tuple[str, Image]]:
        """See :class:`Part`."""
        import pyarrow
        from pyarrow import parquet

        try:
            with open_anywhere(self.file, self.folder, self.store) as stream, parquet.ParquetFile(stream) as table:
                columns = [self.column, *([self.name_column] if self.name_column else [])]
                batches = table.iter_batches(_ROWS_AT_ONCE, list(self.groups), columns)
                cells = (cells for batch in batches for cells in batch.to_pylist())
                for row, cell in enumerate(cells, self.first):
                    yield self._image(row, cell[self.column], cell.get(self.name_column))
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.file}: cannot be read ({str(error)[:200]})") from error

    def key(self) -> str:
        """See :class:`Part`."""
        return f"{_place(self.file, self.folder)}\n{self.column}\n{self.groups}\n{self.first}\n{self.rows}"

    def _image(self, row: int, cell: Any, given: str | None) -> tuple[str, Image]:
        fields = cell if isinstance(cell, dict) else {"bytes": cell}
        content, path = fields.get("bytes"), fields.get("path")
        name = given or f"{self.file}/{row:06d}" + (f"/{os.path.basename(path)}" if path else "")
        if content is None and path:
            return name, find_image(locate(os.path.dirname(self.file), path), self.folder, self.store)
        return name, LazyImage(partial(_content, name, content))


def _content(name: str, content: bytes | None) -> bytes:
    if content is None:
        raise UnreadableImageError(name, "no image in this row")
    return content


def find_image(name: str, folder: str, store: Store | None) -> Image:
    """The image of a path or address."""
    if is_stored(name):
        return LazyImage(partial(store_of(name, store).read, name))
    if is_url(name):
        return LazyImage(partial(RemoteReader((name,)).encoded, 0))
    return _place(name, folder)


def _place(name: str, folder: str) -> str:
    """A path, absolute; an address as it is."""
    return name if is_stored(name) or is_url(name) else os.path.join(folder, name)


def open_anywhere(file: str, folder: str, store: Store | None) -> BinaryIO:
    """Opens a path or an address to read anywhere in it.

    Raises:
        OSError: it cannot be opened.
    """
    return open_file(_place(file, folder)) if store is None else cast(BinaryIO, store.open(file))
