"""Images of the training split that are also among those meant to measure with: accuracy there would be too good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from featherlight.sources.base import Source, SplitName
from featherlight.sources.duplicates import find_duplicates
from featherlight.sources.facts import Facts, Progress, collect_facts


@dataclass(frozen=True)
class Leak:
    """An image in train and one like it in another split.

    Attributes:
        train: path of the training image.
        other: path of the image like it.
        split: where that one is.
        is_exact: the same pixels; else nearly the same.
    """

    train: str
    other: str
    split: SplitName
    is_exact: bool


def find_leaks(source: Source, progress: Progress = lambda _: None) -> list[Leak]:
    """Compares train with each split that was given by whoever made the data; ours are cut without leaks.

    Returns:
        Exact ones first; an image of another split is named once.
    """
    names = [name for name in source.splits if name == "train" or not _is_ours(source, name)]
    if len(names) < 2:
        return []
    facts = join_facts([collect_facts(source.splits[name], progress) for name in names])
    paths = [path for name in names for path in source.splits[name].paths]
    where = np.concatenate([np.full(len(source.splits[name]), k) for k, name in enumerate(names)])
    found: dict[str, Leak] = {}
    for one, other, is_exact in _crossing(facts, where == names.index("train")):
        leak = Leak(paths[one], paths[other], names[where[other]], is_exact)
        found.setdefault(leak.other, leak)
    return sorted(found.values(), key=lambda leak: not leak.is_exact)


def _is_ours(source: Source, split: SplitName) -> bool:
    return split in source.own_splits and "train" in source.own_splits


def _crossing(facts: Facts, in_train: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[tuple[int, int, bool]]:
    """(position in train, position elsewhere, whether the pixels are the same)."""
    duplicates = find_duplicates(facts)
    for copies in duplicates.exact:
        trained = copies[in_train[copies]]
        if len(trained):
            yield from ((int(trained[0]), int(other), True) for other in copies[~in_train[copies]])
    for one, other in duplicates.near.tolist():
        if in_train[one] != in_train[other]:
            yield (one, other, False) if in_train[one] else (other, one, False)


def join_facts(parts: list[Facts]) -> Facts:
    """Facts of several splits one behind the other; without reasons."""
    first = parts[0]
    arrays = ("readable", "content", "pixels", "looks", "thumbs", "sizes", "animated", "tones")
    return replace(
        first,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
        modes=tuple(mode for part in parts for mode in part.modes),
        formats=tuple(kind for part in parts for kind in part.formats),
        reasons={},
    )
