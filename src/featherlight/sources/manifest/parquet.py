"""Parquet manifests, read by PyArrow: only the columns that count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featherlight.errors import DataError, MissingExtraError
from featherlight.images import open_file
from featherlight.sources.manifest.table import Table, Wanted

MAX_ROWS = 50_000_000  # compressed, many more fit in a small file


def read_parquet(file: Path, wanted: Wanted) -> Table:
    """Reads a Parquet file. Columns that hold neither texts nor numbers are not read: they may be the images.

    Args:
        file: one file.
        wanted: whether a column counts, by its name.

    Raises:
        DataError: no Parquet, damaged, too many rows, or texts that are no UTF-8.
        MissingExtraError: PyArrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", file.name) from error
    try:
        with open_file(file) as stream, parquet.ParquetFile(stream) as opened:
            return read_opened(file, opened, wanted)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{file}: no Parquet file, or damaged ({str(error)[:200]})") from error


def read_opened(file: Path | str, opened: Any, wanted: Wanted) -> Table:
    """As :func:`read_parquet`, of a ``pyarrow.parquet.ParquetFile``; raises its errors too."""
    if opened.metadata.num_rows > MAX_ROWS:
        raise DataError(f"{file}: {opened.metadata.num_rows:,} rows; at most {MAX_ROWS:,} are read")
    schema = opened.schema_arrow
    kept = [name for name in dict.fromkeys(schema.names) if wanted(name)]
    others = {name: str(schema.types[schema.names.index(name)]) for name in kept}
    others = {name: kind for name, kind in others.items() if kind.startswith(_NO_CELLS)}
    kept = [name for name in kept if name not in others]
    table = opened.read(columns=kept)
    columns = {name: table.columns[table.schema.names.index(name)].to_pylist() for name in kept}
    remarks = "".join(f"; '{name}' holds {kind[:40]}, no texts or numbers" for name, kind in others.items())
    return Table(file, tuple(schema.names), columns, remarks=remarks)


_NO_CELLS = ("struct", "list", "large_list", "fixed_size", "map", "binary", "large_binary", "extension", "binary_view")
