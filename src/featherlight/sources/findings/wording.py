"""Small words of messages."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from featherlight.errors import quote_names
from featherlight.phrases import Counted, counted, phrase

NAMED = 5  # so many classes a message names


def count(things: Sized, noun: str) -> Counted:
    """``1 image``, ``2,000 images``, ``3 classes``."""
    return counted(len(things), noun)


def are(things: Sized) -> str:
    """``is`` or ``are``."""
    return "is" if len(things) == 1 else "are"


def them(things: Sized) -> str:
    """``it`` or ``them``."""
    return "it" if len(things) == 1 else "them"


def has(things: Sized) -> str:
    """``has`` or ``have``."""
    return "has" if len(things) == 1 else "have"


def named(names: Sequence[str]) -> str:
    """``'a', 'b' and 3 more``."""
    shown = quote_names(names[:NAMED])
    more = len(names) - NAMED
    return phrase("{names} and {number} more", names=shown, number=f"{more:,}") if more > 0 else shown
