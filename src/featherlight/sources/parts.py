"""Files, folders, patterns, tables and addresses become parts of images, the same ones whenever they are asked for."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from featherlight.errors import DataError, explain_missing
from featherlight.sources import open_images
from featherlight.sources.folder import is_image_name, list_files
from featherlight.sources.hugging_face import IMAGE_COLUMNS
from featherlight.sources.manifest.columns import path_columns, wanted_columns
from featherlight.sources.manifest.opening import image_names, is_table_name, read_image_names
from featherlight.sources.manifest.parquet import read_opened
from featherlight.sources.many import NamedImages, Part, TableRows, open_anywhere
from featherlight.sources.stores import Store, find_store, is_stored

SMALLEST, LARGEST = 64, 1000  # images in a part; a part is what a kill costs
PARTS_TO_SHARE, MOST_PARTS = 200, 10_000  # so many keep a cluster busy; more files than these are a burden
_PARQUET = (".parquet", ".pq")
_HELD = (*IMAGE_COLUMNS, "content", "bytes", "image_bytes")  # columns that hold images, told by their name
_TEXTS = ("string", "large_string", "string_view")
_OPENED_AT_ONCE = 16


@dataclass(frozen=True)
class ImageNames:
    """Images that are files."""

    names: Sequence[str]
    store: Store | None = None

    def __len__(self) -> int:
        return len(self.names)

    def cut(self, size: int, folder: str) -> Iterator[Part]:
        """Parts of ``size`` images."""
        for start in range(0, len(self.names), size):
            yield NamedImages(tuple(self.names[start : start + size]), folder, self.store)


@dataclass(frozen=True)
class ImageTable:
    """Images in a Parquet file: how many are in each of its row groups."""

    file: str
    store: Store | None
    column: str
    name_column: str | None
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.rows)

    def cut(self, size: int, folder: str) -> Iterator[TableRows]:
        """Parts of as many row groups as make ``size`` images."""
        ends = list(accumulate(self.rows))
        groups: list[int] = []
        for group, end in enumerate(ends):
            groups.append(group)
            first = ends[groups[0]] - self.rows[groups[0]]
            if end - first >= size or group == len(ends) - 1:
                columns = self.column, self.name_column
                yield TableRows(self.file, folder, self.store, *columns, tuple(groups), first, end - first)
                groups = []


_Found = ImageNames | ImageTable


def find_parts(given: Sequence[str | Path], size: int | None = None) -> list[Part]:
    """Finds images and cuts them into parts, in order.

    Args:
        given: image files, folders, glob patterns, tables that name images or hold them, ``s3://`` and ``gs://``
            addresses of any of these but patterns.
        size: images in a part; by default as many as suit their number. Of a table only whole row groups are taken.

    Raises:
        DataError: something does not exist, holds no image, or cannot be read.
        MissingExtraError: PyArrow is not installed, and something needs it.
    """
    folder = os.getcwd()
    found = [one for each in given for one in _find(os.path.expanduser(each), folder)]
    size = size or size_for(sum(map(len, found)))
    parts = [part for one in found for part in one.cut(size, folder) if len(part)]
    if not parts:
        raise DataError(f"{', '.join(map(str, given))}: no image")
    return parts


def size_for(images: int) -> int:
    """How many of so many images make a part."""
    return max(SMALLEST, min(LARGEST, images // PARTS_TO_SHARE), math.ceil(images / MOST_PARTS))


def _find(given: str, folder: str) -> list[_Found]:
    if is_stored(given):
        store, address = find_store(given)
        files = store.list(address)
        return _choose(files, store, folder, given) if files != [address] else _open_file(address, store, folder)
    if os.path.isdir(given):
        return _choose([os.path.join(given, name) for name in list_files(Path(given))], None, folder, given)
    if glob.has_magic(given) and given.lower().endswith(_PARQUET) and not os.path.exists(given):
        return _open_tables(sorted(glob.glob(given, recursive=True)), None, folder)
    if os.path.isfile(given):
        return _open_file(given, None, folder)
    return [ImageNames(open_images([given]))]


def _open_file(file: str, store: Store | None, folder: str) -> list[_Found]:
    if file.lower().endswith(_PARQUET):
        return [_open_table(file, store, folder)]
    if store is None and is_table_name(file):
        return [ImageNames(read_image_names(Path(file)))]
    return [ImageNames([file], store)]


def _choose(files: Sequence[str], store: Store | None, folder: str, given: str) -> list[_Found]:
    """All images among files; where there are none, what the tables among them name or hold."""
    seen = [file for file in files if not os.path.basename(file).startswith(".")]
    images = [file for file in seen if is_image_name(file)]
    if images:
        return [ImageNames(images, store)]
    tables = [file for file in seen if file.lower().endswith(_PARQUET)]
    if not tables:
        raise DataError(f"{given}: neither images nor Parquet files are below it")
    return _open_tables(tables, store, folder)


def _open_tables(files: Sequence[str], store: Store | None, folder: str) -> list[_Found]:
    with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        return list(pool.map(partial(_open_table, store=store, folder=folder), files))


def _open_table(file: str, store: Store | None, folder: str) -> _Found:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise explain_missing(error, file) from error
    try:
        with open_anywhere(file, folder, store) as stream, parquet.ParquetFile(stream) as table:
            columns = _find_columns(file, table.schema_arrow)
            if columns is None:
                return ImageNames(image_names(read_opened(file, table, wanted_columns(None))), store)
            about = table.metadata
            rows = tuple(about.row_group(group).num_rows for group in range(about.num_row_groups))
            return ImageTable(file, store, *columns, rows)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{file}: no Parquet file, or damaged ({str(error)[:200]})") from error


def _find_columns(file: str, schema: Any) -> tuple[str, str | None] | None:
    """The column that holds encoded images, and the one that names them; None: images are named, not held."""
    held = [field.name for field in schema if _holds_bytes(field.type)]
    known = [name for name in held if name.lower() in _HELD]
    names = [name for name in path_columns(schema.names) if str(schema.field(name).type) in _TEXTS]
    if names and not known:
        return None
    if len(known or held) > 1:
        raise DataError(f"{file}: {', '.join(held)} could each be the images; call the right one image, the others not")
    return ((known or held)[0], names[0] if len(names) == 1 else None) if held else None


def _holds_bytes(kind: Any) -> bool:
    if str(kind).startswith("struct"):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return str(kind) in ("binary", "large_binary", "binary_view")
