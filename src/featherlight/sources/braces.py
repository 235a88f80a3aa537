"""``shards-{000..009}.tar`` -> ten names, as a shell would expand them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise

from featherlight.errors import UsageError

MAX_NAMES = 100_000

_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})(?:\.\.(\d{1,18}))?")  # from, to, step


def expand_braces(pattern: str) -> list[str]:
    """Expands ranges of numbers and alternatives, also nested; braces that hold neither stay as they are.

    Raises:
        UsageError: it would become more than ``MAX_NAMES`` names.
    """
    try:
        names = list(islice(_expand(pattern), MAX_NAMES + 1))
    except RecursionError:
        names = [""] * (MAX_NAMES + 1)
    if len(names) > MAX_NAMES:
        raise UsageError(f"{pattern[:200]}: stands for more than {MAX_NAMES:,} names")
    return names


def _expand(text: str) -> Iterator[str]:
    found = _first_group(text)
    if found is None:
        yield text
        return
    start, end, parts = found
    rests = list(islice(_expand(text[end:]), MAX_NAMES + 1))
    for part in parts:
        for middle in _expand(part):
            yield from (text[:start] + middle + rest for rest in rests)


def _first_group(text: str) -> tuple[int, int, Iterator[str]] | None:
    """Where the first braces that stand for several texts begin and end, and the texts."""
    for start in (place for place, character in enumerate(text) if character == "{"):
        end, commas = _closing(text, start)
        inner = text[start + 1 : end - 1]
        numbers = _RANGE.fullmatch(inner)
        if end and numbers:
            return start, end, _count(*numbers.groups())
        if end and commas:
            cuts = [start, *commas, end - 1]
            return start, end, (text[a + 1 : b] for a, b in pairwise(cuts))
    return None


def _closing(text: str, start: int) -> tuple[int, list[int]]:
    """Place behind the brace that closes the one at ``start``, 0 if none does; and the commas directly inside."""
    depth = 0
    commas: list[int] = []
    for place in range(start, len(text)):
        character = text[place]
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return place + 1, commas
        if depth == 1 and character == ",":
            commas.append(place)
    return 0, []


def _count(first: str, last: str, step: str | None) -> Iterator[str]:
    padded = any(len(number) > 1 and number.startswith("0") for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    low, high, by = int(first), int(last), int(step or 1) or 1
    numbers = range(low, high + 1, by) if low <= high else range(low, high - 1, -by)
    return (f"{number:0{width}d}" for number in numbers)
