"""CSV manifests: commas, tabs, semicolons or bars, told apart by the first line.

Read by the standard library: every cell stays the text it is (a class ``007`` or ``NA`` keeps its name), the base needs
nothing more, and half a million rows take about a second.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from featherlight.errors import DataError
from featherlight.sources.manifest.table import Table, Wanted, text_lines

DELIMITERS = ",\t;|"
_BLOCK = 4096  # rows turned into columns at a time


def read_csv(file: Path, wanted: Wanted) -> Table:
    """Reads a CSV file whose first line names the columns.

    Args:
        file: UTF-8, with or without byte order mark.
        wanted: whether a column counts, by its name.

    Raises:
        DataError: empty, no UTF-8, a row with too many or too few cells, a quote that is not closed.
    """
    delimiter = _find_delimiter(file)
    rows = _rows(file, delimiter)
    names = tuple(next(rows, ()))
    if not names:
        raise DataError(f"{file}: empty; the first line must name the columns, for example: path,label")
    kept = [names.index(name) for name in dict.fromkeys(names) if wanted(name)]
    columns: dict[str, list[str]] = {names[position]: [] for position in kept}
    count = 0
    while block := list(islice(rows, _BLOCK)):
        _check_widths(file, delimiter, names, block, count)
        for position, cells in enumerate(zip(*block, strict=True)):
            if position in kept:
                columns[names[position]].extend(cells)
        count += len(block)
    return Table(file, names, dict(columns), line_of=partial(_line_of, file, delimiter))


def _find_delimiter(file: Path) -> str:
    """The one that makes the most columns of the first line; a comma if none makes several."""
    return max(DELIMITERS, key=lambda delimiter: len(next(_rows(file, delimiter), ())))


def _rows(file: Path, delimiter: str) -> Iterator[list[str]]:
    """Rows that are not blank."""
    return (row for row, _ in _numbered_rows(file, delimiter) if row)


def _numbered_rows(file: Path, delimiter: str) -> Iterator[tuple[list[str], int]]:
    reader = csv.reader(text_lines(file), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield row, reader.line_num
    except csv.Error as error:
        problem = f"{error}; is a quote not closed, or not doubled within a cell?"
        raise DataError(f"{file}, line {reader.line_num}: {problem}") from error


def _check_widths(
    file: Path, delimiter: str, names: Sequence[str], block: Sequence[Sequence[str]], before: int
) -> None:
    for number, row in enumerate(block):
        if len(row) != len(names):
            line = _line_of(file, delimiter, before + number)
            raise DataError(f"{file}, line {line}: {len(row)} cells, but the first line names {len(names)} columns")


def _line_of(file: Path, delimiter: str, number: int) -> int:
    """The line on which a row ends, found by reading again: needed for one message at most."""
    lines = (line for row, line in _numbered_rows(file, delimiter) if row)
    return next(islice(lines, number + 1, None))
