"""Options that several commands share, and the shapes of what they take."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from featherlight.cli import completing
from featherlight.console import printable
from featherlight.errors import UsageError
from featherlight.training.recipe import read_duration

Command = TypeVar("Command", bound=Callable[..., Any])

DEVICES = "auto, cpu, cuda, mps, npu or xpu; cuda:1 for the second."


def device_option(command: Command) -> Command:
    """``--device NAME``."""
    return click.option(
        "--device", metavar="NAME", help=f"Where to compute: {DEVICES}", shell_complete=completing.device
    )(command)


def engine_option(command: Command) -> Command:
    """``--engine NAME``."""
    return click.option(
        "--engine",
        metavar="NAME",
        shell_complete=completing.engine,
        default="auto",
        show_default=True,
        help="Runtime: auto (by the file), torch, onnxruntime or openvino.",
    )(command)


def threads_option(command: Command) -> Command:
    """``--threads N``."""
    return click.option(
        "--threads", type=click.IntRange(min=1), metavar="N", help="Of the runtime.  [default: its own choice]"
    )(command)


def lang_option(command: Command) -> Command:
    """``--lang en|zh``."""
    return click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the page.  [default: en]")(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(command)


class Duration(click.ParamType[str]):
    """``90s``, ``15m``, ``2h``; stays a text, checked early."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what is no duration."""
        try:
            read_duration(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class WholeNumbers(click.ParamType[tuple[int, ...]]):
    """``1,8``: whole numbers of at least 1 with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Reads each, drops repeats."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no list of whole numbers, for example: 1,8", param, ctx)
        return tuple(dict.fromkeys(map(int, parts)))


class Setting(click.ParamType[tuple[str, str]]):
    """``field=value``."""

    name = "field=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Splits at the first equals sign."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"{value!r} is no field=value, for example: --set batch_size=64", param, ctx)
        return name.strip(), text.strip()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Comma-separated rows on standard output, all with the columns of the first."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, object]], decimals: int = 3) -> None:
    """A plain aligned table on standard output; columns of numbers to the right, ``-`` where there is none."""
    columns_of_cells = [[_cell(row[name], decimals) for row in rows] for name in columns]
    lines = []
    for name, cells in zip(columns, columns_of_cells, strict=True):
        width = max(map(len, [name, *cells]))
        is_numeric = all(isinstance(row[name], int | float | None) for row in rows)
        lines.append([cell.rjust(width) if is_numeric else cell.ljust(width) for cell in (name, *cells)])
    for line in zip(*lines, strict=True):
        sys.stdout.write("  ".join(line).rstrip() + "\n")


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
