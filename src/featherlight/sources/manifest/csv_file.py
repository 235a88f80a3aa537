"""CSV manifests: commas, tabs, semicolons or bars, told apart by the first line.

Read by the standard library: every cell stays the text it is (a class ``007`` or ``NA`` keeps its name), the base needs
nothing more, and half a million rows take about a second.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from featherlight.errors import DataError
from featherlight.sources.manifest.table import Table, Wanted, new_lines, text_lines

DELIMITERS = ",\t;|"


def read_csv(file: Path, wanted: Wanted) -> Table:
    """Reads a CSV file whose first line names the columns.

    Args:
        file: UTF-8, with or without byte order mark.
        wanted: whether a column counts, by its name.

    Raises:
        DataError: empty, no UTF-8, a row with too many or too few cells, a quote that is not closed.
    """
    rows = _Rows(file, _find_delimiter(file))
    names = tuple(next(rows, ()))
    if not names:
        raise DataError(f"{file}: empty; the first line must name the columns, for example: path,label")
    kept = [position for position, name in enumerate(names) if wanted(name)]
    cells: list[list[str]] = [[] for _ in kept]
    lines = new_lines()
    for row in rows:
        if len(row) != len(names):
            _refuse(file, rows.line, f"{len(row)} cells, but the first line names {len(names)} columns")
        for column, position in zip(cells, kept, strict=True):
            column.append(row[position])
        lines.append(rows.line)
    return Table(file, names, {names[position]: column for position, column in zip(kept, cells, strict=True)}, lines)


def _find_delimiter(file: Path) -> str:
    """The one that makes the most columns of the first line; a comma if none makes several."""
    return max(DELIMITERS, key=lambda delimiter: len(next(_Rows(file, delimiter), ())))


class _Rows(Iterator[list[str]]):
    """Rows that are not blank, and the line on which the last one ended."""

    def __init__(self, file: Path, delimiter: str) -> None:
        self._file = file
        self._reader = csv.reader(text_lines(file), delimiter=delimiter, strict=True)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __next__(self) -> list[str]:
        try:
            return next(row for row in self._reader if row)
        except csv.Error as error:
            _refuse(self._file, self.line, f"{error}; is a quote not closed, or not doubled within a cell?")


def _refuse(file: Path, line: int, problem: str) -> NoReturn:
    raise DataError(f"{file}, line {line}: {problem}")
