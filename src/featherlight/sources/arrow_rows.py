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
        versions: of each file; changes when the file has changed.
        num_bytes: of all files.
    """

    columns: dict[str, list[Any]]
    ends: NDArray[np.int64]
    file_ends: NDArray[np.int64]
    versions: tuple[str, ...]
    num_bytes: int

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


def open_table(files: Sequence[str]) -> ArrowTable:
    """Maps Arrow files, each process its own; one that is open already is not opened again.

    Raises:
        DataError: a file is damaged, is not there or cannot be read.
    """
    return _open_table(tuple(files))


@lru_cache(maxsize=16)
def _open_table(files: tuple[str, ...]) -> ArrowTable:
    import pyarrow as pa

    tables, versions, num_bytes = [], [], 0
    for file in files:
        try:
            with pa.memory_map(file) as mapped:
                table = pa.ipc.open_stream(mapped).read_all()
            table.validate(full=True)  # offsets of a hostile file could point anywhere
            status = os.stat(file)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read ({str(error).splitlines()[0][:200]})") from error
        tables.append(table)
        versions.append(f"{status.st_size}-{status.st_mtime_ns}")
        num_bytes += status.st_size
    whole = pa.concat_tables(tables)
    columns = {name: whole.column(name).chunks for name in whole.column_names}
    chunks = whole.column(0).chunks if columns else []
    ends = np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
    file_ends = np.cumsum([table.num_rows for table in tables], dtype=np.int64)
    return ArrowTable(columns, ends, file_ends, tuple(versions), num_bytes)


@dataclass(frozen=True)
class ArrowRows:
    """Reads the image in row ``i``. Holds only names, so it crosses process borders; each maps the files anew.

    Attributes:
        files: Arrow files, all rows of which are the images of a split.
        column: that holds images: encoded bytes, or these and a path, or a path alone.
        names: what errors call each image.
    """

    files: tuple[str, ...]
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
        file = int(table.file_of(index))
        return f"{self.files[file]}:{index}|{stored.as_buffer().size}|{table.versions[file]}"

    def _find(self, index: int) -> tuple[Any, str | None]:
        """The bytes, still in the file, or None; and the path beside them."""
        value = open_table(self.files).row(self.column, index)
        if not value.is_valid:
            return None, None
        fields = dict(value.items()) if hasattr(value, "items") else {"bytes": value}
        stored, path = fields.get("bytes"), fields.get("path")
        return stored if stored is not None and stored.is_valid else None, path and path.as_py()
