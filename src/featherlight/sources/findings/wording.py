"""Small words of messages."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from featherlight.console import counted

NAMED = 5  # so many names a message tells


def count(things: Sized, noun: str) -> str:
    """``1 image``, ``2,000 images``, ``3 classes``."""
    return counted(len(things), noun)


def are(things: Sized) -> str:
    """``is`` or ``are``."""
    return "is" if len(things) == 1 else "are"


def them(things: Sized) -> str:
    """``it`` or ``them``."""
    return "it" if len(things) == 1 else "them"


def names(all_names: Sequence[str], ending: str = "") -> str:
    """The first few names; how many more there are."""
    more = len(all_names) - NAMED
    shown = ", ".join(f"{name}{ending}" for name in all_names[:NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown
