"""What somebody gave becomes a source: split names are understood, missing splits cut, the fingerprint taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from featherlight.sources.base import Source, Split, SplitName, Unreadable
from featherlight.sources.fingerprint import fingerprint
from featherlight.sources.splitting import cut_splits

SPLIT_WORDS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def missing_fractions(given: Collection[SplitName]) -> dict[SplitName, float]:
    """What has to be cut out of train, with expected shares, where whoever made the data gave these splits.

    Nothing given: all three. Given without val: val. Images for a test are never cut out of what somebody split.
    """
    if not given:
        return {"train": 0.8, "val": 0.1, "test": 0.1}
    return {} if "val" in given else {"train": 0.9, "val": 0.1}


def finish_source(
    name: str,
    root: Path,
    classes: tuple[str, ...],
    splits: dict[SplitName, Split],
    fractions: Mapping[SplitName, float],
    *,
    strict: bool = False,
) -> Source:
    """Makes a source of images that are files; cuts the splits that are missing.

    Args:
        name: what the person typed, absolute.
        root: folder that paths are told from, so that the fingerprint is the same wherever it lies.
        classes: names in label order.
        splits: as they were given.
        fractions: to cut ``train`` into; empty if nothing is missing.
        strict: raise at the first image that cannot be read while splitting, instead of leaving it out.

    Raises:
        DataError: too few images to split; with ``strict`` an UnreadableImageError.
    """
    unreadable: tuple[Unreadable, ...] = ()
    if fractions:
        cut, unreadable = cut_splits(name, classes, splits["train"], fractions, strict=strict)
        splits = {**splits, **cut}
    print_of = fingerprint(classes, splits, str(root))
    return Source(name, classes, splits, print_of, unreadable=unreadable, own_splits=tuple(fractions))
