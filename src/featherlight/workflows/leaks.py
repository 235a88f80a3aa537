"""Before training: do images to measure with also take part in training?"""

from __future__ import annotations

import shlex

from featherlight.console import counting, note
from featherlight.errors import DataError
from featherlight.sources.base import Source
from featherlight.sources.leaks import Leak, find_leaks

LOOKED_AT_UP_TO = 100_000  # images; more take minutes to decode, and `featherlight check` does it on request


def refuse_leaks(source: Source, *, allow: bool) -> None:
    """Refuses exact copies between train and the images to measure with, and warns of near ones and of split groups.

    Args:
        source: the data.
        allow: only warn.

    Raises:
        DataError: the same pixels are in train and in another split, and ``allow`` is not set.
    """
    _warn_of_groups(source)
    count = sum(map(len, source.splits.values()))
    if count > LOOKED_AT_UP_TO:
        note(f"{count:,} images: copies between splits are not looked for; featherlight check {_quoted(source)} does")
        return
    with counting("looking for copies between splits", count) as advance:
        leaks = find_leaks(source, advance)
    exact = [leak for leak in leaks if leak.is_exact]
    near = [leak for leak in leaks if not leak.is_exact]
    if exact and not allow:
        raise DataError(
            f"{source.name}: {_describe(exact, 'the same pixels as')}. Accuracy would be measured on images that were "
            f"learned. See them all: featherlight check {_quoted(source)}; or go on with --allow-leaks"
        )
    if exact:
        note(f"warning: {_describe(exact, 'the same pixels as')}; accuracy there is too good to be true")
    if near:
        note(f"warning: {_describe(near, 'nearly the same as')}; see featherlight check {_quoted(source)}")


def _describe(leaks: list[Leak], how: str) -> str:
    splits = " and ".join(sorted({leak.split for leak in leaks}))
    images = f"{len(leaks):,} image{'s' if len(leaks) > 1 else ''} of {splits} {'are' if len(leaks) > 1 else 'is'}"
    return f"{images} {how} one of train, {leaks[0].other} as {leaks[0].train}"


def _warn_of_groups(source: Source) -> None:
    """Splits that somebody made are kept as they are, even where they tear a group apart."""
    trained = set(source.splits["train"].groups or ()) - {""}
    for name, split in source.splits.items():
        torn = sorted(trained & set(split.groups or ())) if name != "train" else []
        if torn:
            note(f"warning: {len(torn):,} groups have images in train and in {name}, for example {torn[0]}")


def _quoted(source: Source) -> str:
    return shlex.quote(source.name)
