"""A recipe's values, read as their fields' types: from texts of the command line, and from TOML."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from featherlight.errors import UsageError

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def read_value(name: str, value: Any, kind: Any) -> Any:
    """Checks ``value`` for the field ``name`` of type ``kind``; a text is read as that type.

    Raises:
        UsageError: an unfit value; the message lists what is fit.
    """
    if get_origin(kind) in (Union, UnionType):
        if value is None or value == "none":
            return None
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"recipe field {name} is {value!r}; it can be: {', '.join(get_args(kind))}")
        return value
    try:
        return _read_as(kind, value)
    except (ValueError, TypeError) as error:
        expected = _NAMES.get(kind, "numbers with commas between them")
        raise UsageError(f"recipe field {name} is {value!r}; {expected} is expected") from error


def _read_as(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        return tuple(get_args(kind)[0](part) for part in parts)
    if kind is bool:
        return _read_bool(value)
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    if kind is not str and isinstance(value, bool):
        raise TypeError(value)
    return kind(value)


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in _WORDS:
        raise ValueError(value)
    return _WORDS[str(value).lower()]
