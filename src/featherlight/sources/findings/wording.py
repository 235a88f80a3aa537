"""Small words of messages."""

from __future__ import annotations

from collections.abc import Sized

from featherlight.console import counted

NAMED = 5  # so many classes a message names


def count(things: Sized, noun: str) -> str:
    """``1 image``, ``2,000 images``, ``3 classes``."""
    return counted(len(things), noun)


def are(things: Sized) -> str:
    """``is`` or ``are``."""
    return "is" if len(things) == 1 else "are"


def them(things: Sized) -> str:
    """``it`` or ``them``."""
    return "it" if len(things) == 1 else "them"
