"""Images that are rows of memory-mapped Arrow files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import DataError, UnreadableImageError
from featherlight.images import load_image
from featherlight.sources.base import RGBImage
from featherlight.sources.files import FileReader


@dataclass(frozen=True)
class ArrowTable:
    """Arrow files one behind the other, mapped into memory: what is not read costs nothing.

    Attributes:
        columns: name -> its chunks, those of one file behind those of the other.
        ends: row behind the last one of each chunk, int64.
        file_ends: likewise of each file.
    """

    columns: dict[str, list[Any]]
    ends: NDArray[np.int64]
    file_ends: NDArray[np.int64]

    def row(self, column: str, index: int) -> Any:
        """One value, still in the file."""
        chunk = int(np.searchsorted(self.ends, index, side="right"))
        chunks = self.columns[column]
        return chunks[chunk][index - int(self.ends[chunk]) + len(chunks[chunk])]

    def file_of(self, index: int | NDArray[np.int64]) -> Any:
        """Which file holds a row."""
        return np.searchsorted(self.file_ends, index, side="right")

    def has_field(self, column: str, field: str) -> bool:
        """Whether a column is made of fields, and this one is among them."""
        kind = self.columns[column][0].type
        return hasattr(kind, "get_field_index") and kind.get_field_index(field) >= 0

    def values(self, column: str, field: str | None = None) -> list[Any]:
        """A whole column, or one field of it, as Python values."""
        import pyarrow.compute as pc

        chunks = self.columns[column]
        return [v for chunk in chunks for v in (pc.struct_field(chunk, field) if field else chunk).to_pylist()]


@dataclass(frozen=True)
class ArrowFile:
    """One file of a table.

    Attributes:
        path: where it is.
        size: bytes.
        changed_ns: when it was written.
    """

    path: str
    size: int
    changed_ns: int


def find_files(paths: Sequence[str]) -> tuple[ArrowFile, ...]:
    """The files as they are now.

    Raises:
        DataError: one is not there.
    """
    try:
        found = [(path, os.stat(path)) for path in paths]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror or error})") from error
    return tuple(ArrowFile(path, status.st_size, status.st_mtime_ns) for path, status in found)


@lru_cache(maxsize=16)
def open_table(files: tuple[ArrowFile, ...]) -> ArrowTable:
    """Maps Arrow files, each process its own; what is open already is not opened again.

    Raises:
        DataError: a file is damaged, has changed, is not there or cannot be read.
    """
    import pyarrow as pa

    if find_files([file.path for file in files]) != files:
        raise DataError(f"{files[0].path}: this table has changed since it was opened; start again")

    tables = []
    for file in files:
        try:
            with pa.memory_map(file.path) as mapped:
                table = pa.ipc.open_stream(mapped).read_all()
            table.validate(full=True)  # offsets of a hostile file could point anywhere
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file.path}: cannot be read ({str(error).splitlines()[0][:200]})") from error
        tables.append(table)
    whole = pa.concat_tables(tables)
    columns = {name: whole.column(name).chunks for name in whole.column_names}
    chunks = whole.column(0).chunks if columns else []
    ends = np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
    file_ends = np.cumsum([table.num_rows for table in tables], dtype=np.int64)
    return ArrowTable(columns, ends, file_ends)


@dataclass(frozen=True)
class ArrowRows:
    """Reads the image in row ``i``. Holds only names, so it crosses process borders; each maps the files anew.

    Attributes:
        files: Arrow files, all rows of which are the images of a split.
        column: that holds images: encoded bytes, or these and a path, or a path alone.
        names: what errors call each image.
    """

    files: tuple[ArrowFile, ...]
    column: str
    names: tuple[str, ...]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """See :class:`featherlight.sources.base.Reader`."""
        return load_image(self.encoded(index), self.names[index], at_least)

    def encoded(self, index: int) -> bytes:
        """The image's bytes, out of the table or of the file that it names."""
        stored, path = self._find(index)
        if stored is not None:
            content: bytes = stored.as_py()
            return content
        if not path:
            raise UnreadableImageError(self.names[index], "no image in this row")
        try:
            return FileReader((path,)).encoded(0)
        except UnreadableImageError as error:
            raise UnreadableImageError(self.names[index], f"{error.reason}: {path}") from error

    def stamp(self, index: int) -> str | None:
        """File and row, size, and what tells the file's version."""
        stored, path = self._find(index)
        if stored is None:
            return FileReader((path,)).stamp(0) if path else None
        table = open_table(self.files)
        file = self.files[int(table.file_of(index))]
        return f"{file.path}:{index}|{stored.as_buffer().size}|{file.size}-{file.changed_ns}"

    def _find(self, index: int) -> tuple[Any, str | None]:
        """The bytes, still in the file, or None; and the path beside them."""
        value = open_table(self.files).row(self.column, index)
        if not value.is_valid:
            return None, None
        fields = dict(value.items()) if hasattr(value, "items") else {"bytes": value}
        stored, path = fields.get("bytes"), fields.get("path")
        return stored if stored is not None and stored.is_valid else None, path and path.as_py()
