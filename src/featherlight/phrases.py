"""Texts that can be said in another language later: English strings that remember what they were put together from.

Results hold sentences: files and the command line want them in English, a page may want them in Chinese. So whoever
makes a sentence makes it once, of a template and values; whoever shows it may translate the template and keep the
values. Everywhere else it is a string like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Phrase(str):
    """A text made by :func:`phrase`.

    Attributes:
        template: English, with names in braces.
        values: what stands for the names; these may be phrases again.
    """

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, str]


class Counted(str):
    """A number of things, made by :func:`counted`.

    Attributes:
        number: how many.
        noun: of what, in the singular.
    """

    __slots__ = ("noun", "number")
    number: int
    noun: str


class Joined(str):
    """Several texts in a row, made by :func:`joined`.

    Attributes:
        parts: the texts.
        separator: between two of them.
        last: before the last one.
    """

    __slots__ = ("last", "parts", "separator")
    parts: tuple[str, ...]
    separator: str
    last: str


def phrase(template: str, **values: object) -> Phrase:
    """``template`` with ``values`` in its braces; without values any text that may have a translation."""
    texts = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    made = Phrase(template.format(**texts) if texts else template)
    made.template, made.values = template, texts
    return made


def counted(number: int, noun: str) -> Counted:
    """``1 image``, ``2,000 images``, ``3 classes``."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    made = Counted(f"{number:,} {noun if number == 1 else plural}")
    made.number, made.noun = number, noun
    return made


def joined(parts: Sequence[str], separator: str = ", ", last: str = " and ") -> str:
    """``a, b and c``; a single text is itself."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    made = Joined(last.join([separator.join(parts[:-1]), *parts[-1:]]))
    made.parts, made.separator, made.last = tuple(parts), separator, last
    return made


def pack(text: str) -> Any:
    """The text as plain values for JSON, so that :func:`unpack` can make it again."""
    if isinstance(text, Phrase):
        return {"template": text.template, "values": {name: pack(value) for name, value in text.values.items()}}
    if isinstance(text, Counted):
        return {"number": text.number, "noun": text.noun}
    if isinstance(text, Joined):
        return {"parts": [pack(part) for part in text.parts], "separator": text.separator, "last": text.last}
    return text


def unpack(packed: Any) -> str:
    """What :func:`pack` was given.

    Raises:
        KeyError, TypeError: it was not made by it.
    """
    if isinstance(packed, str):
        return packed
    if "template" in packed:
        return phrase(packed["template"], **{name: unpack(value) for name, value in packed["values"].items()})
    if "noun" in packed:
        return counted(packed["number"], packed["noun"])
    return joined([unpack(part) for part in packed["parts"]], packed["separator"], packed["last"])
