"""What each format of manifest is read into: the names of all columns, the cells of those that count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featherlight.errors import DataError
from featherlight.images import open_file, reason_unreadable

MAX_LINE_BYTES = 2**20  # no row of a manifest is longer; a file without line ends must not fill the memory

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Table:
    """A manifest, read.

    Attributes:
        file: what it was read from.
        names: of all columns, in order.
        columns: name -> one cell a row; of the columns that were wanted.
        line_of: row, counted from 0 -> the line of the file on which it ends; None where there are no lines.
        remarks: what to add to messages about missing columns.
    """

    file: Path | str
    names: tuple[str, ...]
    columns: dict[str, Sequence[Any]]
    line_of: Callable[[int], int] | None = field(default=None, repr=False)
    remarks: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> str:
        """Where row ``row``, counted from 0, stands: for messages."""
        return f"{self.file}, row {row + 1}" if self.line_of is None else f"{self.file}, line {self.line_of(row)}"


def text_lines(file: Path) -> Iterator[str]:
    """The lines of a text file with their ends, read one by one; a byte order mark is left out.

    Raises:
        DataError: the file cannot be read, is no UTF-8, or has a line longer than ``MAX_LINE_BYTES``.
    """
    try:
        with open_file(file) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
                yield _decode(file, number, line)
    except OSError as error:
        raise DataError(f"{file}: {reason_unreadable(error)}") from error


def _decode(file: Path, number: int, line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"{file}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; this is no manifest")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        found = "UTF-16" if line.startswith((b"\xff\xfe", b"\xfe\xff")) else f"the byte 0x{line[error.start]:02x}"
        raise DataError(f"{file}, line {number}: {found} where UTF-8 is expected; save the file as UTF-8") from error
