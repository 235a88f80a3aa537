"""One fold of a k-fold cross-validation as a source: that fold is validation, all others are train."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import numpy as np

from featherlight.console import counting
from featherlight.errors import DataError, UnreadableImageError, UsageError
from featherlight.sources.base import Source, Split, SplitName, join_splits, take
from featherlight.sources.facts import collect_facts
from featherlight.sources.folds import deal_folds
from featherlight.sources.splitting import check_splits, hanging_together

MAX_FOLDS = 100


def read_fold(text: str) -> tuple[int, int]:
    """``2/5`` -> (2, 5): the second of five folds.

    Raises:
        UsageError: something else.
    """
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    number, folds = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (2 <= folds <= MAX_FOLDS and 1 <= number <= folds):
        raise UsageError(f"fold is {text!r}; such as 1/5, of 2 to {MAX_FOLDS} folds, is expected")
    return number, folds


def take_fold(source: Source, fold: str, *, strict: bool = False) -> Source:
    """Deals the images anew: classes evenly, and copies, near copies and groups into one fold.

    A test split that came with the data is left alone; one that was cut out by hash takes part.

    Args:
        source: any that has train and val.
        fold: such as ``2/5``; empty leaves the source as it is.
        strict: an image that cannot be read is an error, not left out.

    Raises:
        UsageError: no such fold.
        DataError: too few images; with ``strict`` an UnreadableImageError.
    """
    if not fold:
        return source
    number, folds = read_fold(fold)
    images = pooled(source)
    with counting("looking at images", len(images)) as advance:
        facts = collect_facts(images, advance)
    unreadable = tuple(facts.unreadable(images))
    if strict and unreadable:
        raise UnreadableImageError(*unreadable[0])
    readable = np.flatnonzero(facts.readable)
    roots = hanging_together(facts, images.groups)[readable]
    if len(np.unique(roots)) < folds:
        raise DataError(f"{source.name}: {len(readable)} images cannot be dealt into {folds} folds; take fewer")
    dealt = deal_folds(images.labels[readable], roots, folds)
    splits: dict[SplitName, Split] = {
        "train": take(images, readable[dealt != number - 1]),
        "val": take(images, readable[dealt == number - 1]),
    }
    check_splits(source.name, source.classes, {name: split.labels for name, split in splits.items()})
    kept = {name: split for name, split in source.splits.items() if name not in _pool(source)}
    return replace(
        source,
        splits={**splits, **kept},
        fingerprint=hashlib.sha256(f"{source.fingerprint} fold {fold}".encode()).hexdigest()[:16],
        unreadable=tuple(dict.fromkeys((*source.unreadable, *unreadable))),
        own_splits=("train", "val"),
    )


def pooled(source: Source) -> Split:
    """All images that folds are dealt from."""
    splits = _pool(source)
    weights = [split.weights for split in splits.values() if split.weights is not None]
    images = join_splits(replace(source, splits=splits))
    return replace(images, weights=np.concatenate(weights) if len(weights) == len(splits) else None)


def _pool(source: Source) -> dict[SplitName, Split]:
    return {name: split for name, split in source.splits.items() if name != "test" or name in source.own_splits}
