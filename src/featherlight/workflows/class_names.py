"""Names of classes from a file, in the order of a network's outputs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from featherlight.errors import UsageError

_MAX_BYTES = 16 * 2**20
_SHAPES = 'a list ["cat", "dog"], or a table {"0": "cat", "1": "dog"} or {"0": ["n02123045", "tabby"], ...}'


def read_class_names(path: str | Path, count: int) -> tuple[str, ...]:
    """Reads ``count`` different names.

    Args:
        path: a text file with a name a line, or JSON: a list of names, or a table from numbers to names, or to
            pairs of an identifier and a name as ImageNet's ``imagenet_class_index.json`` has them.
        count: outputs of the network.

    Raises:
        UsageError: the file cannot be read, or does not hold ``count`` different names.
    """
    text = _read(Path(path))
    names = _from_json(path, text) if text.lstrip().startswith(("[", "{")) else _from_lines(text)
    if len(names) != count:
        raise UsageError(f"{path}: {len(names):,} class names, but the classifier has {count:,} outputs")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{path}: {twice[0]!r:.80} stands there more than once; each class needs a name of its own")
    return tuple(names)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path}: too large for a file of class names")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file in UTF-8") from error


def _from_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _from_json(path: str | Path, text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: begins like JSON but is none; expected {_SHAPES}, or a name a line") from error
    values = found
    if isinstance(found, dict):
        wanted = [str(number) for number in range(len(found))]
        if set(found) != set(wanted):
            raise UsageError(f"{path}: its keys are not the numbers 0 to {len(found) - 1}; expected {_SHAPES}")
        values = [found[number] for number in wanted]
    labels = [_label(path, value) for value in values]
    times = Counter(name for name, _ in labels)
    return [f"{name} ({identifier})" if identifier and times[name] > 1 else name for name, identifier in labels]


def _label(path: str | Path, value: Any) -> tuple[str, str]:
    """A name and its identifier, empty where there is none."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return value[1], value[0]
    raise UsageError(f"{path}: {value!r:.60} is no class name; expected {_SHAPES}")
