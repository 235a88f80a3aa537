"""Options that several commands share, and the shapes of what they take."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DEVICES = "auto, cpu, cuda, mps, npu or xpu; cuda:1 for the second."


def device_option(command: Command) -> Command:
    """``--device NAME``."""
    return click.option("--device", metavar="NAME", help=f"Where to compute: {DEVICES}")(command)


def engine_option(command: Command) -> Command:
    """``--engine NAME``."""
    return click.option("--engine", metavar="NAME", default="auto", show_default=True, help="Runtime: auto or torch.")(
        command
    )


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(command)


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


def print_table(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> None:
    """A plain aligned table on standard output; numbers to the right."""
    names = list(columns)
    texts = [names] + [[_cell(row[name]) for name in names] for row in rows]
    numeric = (
        [all(isinstance(row[name], (int, float)) for row in rows) for name in names] if isinstance(rows, list) else []
    )
    widths = [max(len(row[k]) for row in texts) for k in range(len(names))]
    for row in texts:
        cells = [
            cell.rjust(width) if k < len(numeric) and numeric[k] else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
