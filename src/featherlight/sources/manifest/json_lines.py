"""JSON-lines manifests: an object a line, its keys are the columns."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from featherlight.errors import DataError
from featherlight.sources.manifest.table import Table, Wanted, text_lines


def read_json_lines(file: Path, wanted: Wanted) -> Table:
    """Reads JSON lines; a key that a row lacks is None there.

    Args:
        file: UTF-8; blank lines are passed over.
        wanted: whether a column counts, by its name.

    Raises:
        DataError: empty, no UTF-8, or a line that is no JSON object.
    """
    names: dict[str, None] = {}
    columns: dict[str, list[Any]] = {}
    lines = array("q")
    for number, line in enumerate(text_lines(file), 1):
        if line.isspace():
            continue
        row = _parse(file, number, line)
        if row.keys() - names.keys():
            names |= dict.fromkeys(row)
            columns |= {name: [None] * len(lines) for name in row if wanted(name) and name not in columns}
        for name, column in columns.items():
            column.append(row.get(name))
        lines.append(number)
    if not lines:
        raise DataError(
            f'{file}: empty; expected a JSON object a line, for example {{"path": "a.jpg", "label": "cat"}}'
        )
    return Table(file, tuple(names), dict(columns), line_of=lines.__getitem__)


def _parse(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{file}, line {number}: half of a surrogate pair, which no text can hold") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}, line {number}: no JSON ({str(error)[:100]}); expected an object a line") from error
    if not isinstance(row, dict):
        raise DataError(f"{file}, line {number}: a JSON {type(row).__name__}, not an object; write one object a line")
    return row
