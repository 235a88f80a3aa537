"""Images that belong together: several photos of one person, object or video, told by a pattern in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from featherlight.errors import UsageError


def group_names(names: Sequence[str], pattern: str) -> tuple[str, ...]:
    r"""The group of each name: what ``pattern`` finds in it; its parenthesised parts, if it has any.

    Args:
        names: paths below the data's root.
        pattern: regular expression, for example ``[^/]+(?=_\d+)`` or ``(person\d+)_``.

    Returns:
        A text a name; empty where the pattern is not found: such an image belongs to no group.

    Raises:
        UsageError: ``pattern`` is no regular expression, or is found in no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by {pattern!r} is no regular expression: {error}") from error
    found = tuple(_group(compiled.search(name)) for name in names)
    if names and not any(found):
        raise UsageError(f"--group-by {pattern!r} is found in none of {len(names):,} names, the first: {names[0]}")
    return found


def _group(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    return "|".join(part or "" for part in match.groups()) if match.re.groups else match[0]
