"""Splitting by a hash of decoded pixels: old images never move, copies and groups stay on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from featherlight.console import counting
from featherlight.errors import DataError, UnreadableImageError
from featherlight.sources.base import Split, SplitName, Unreadable, take
from featherlight.sources.duplicates import components, equal_groups, find_duplicates
from featherlight.sources.facts import Facts, collect_facts

_RANGE = 2**64
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplying by it can be undone
_UNMIXER = np.uint64(pow(int(_MIXER), -1, _RANGE))


def cut_splits(
    name: str, classes: Sequence[str], images: Split, fractions: Mapping[SplitName, float], *, strict: bool = False
) -> tuple[dict[SplitName, Split], tuple[Unreadable, ...]]:
    """Cuts splits out of images that came without them.

    Args:
        name: of the source, for messages.
        classes: names in label order.
        images: all of them.
        fractions: expected share of each split; together 1.
        strict: raise at the first image that cannot be read, instead of leaving it out.

    Returns:
        The splits that have images, and what was left out as (path, reason).

    Raises:
        DataError: too few images to split; with ``strict`` an UnreadableImageError.
    """
    with counting("looking at images", len(images)) as advance:
        facts = collect_facts(images, advance)
    unreadable = tuple(facts.unreadable(images))
    if strict and unreadable:
        raise UnreadableImageError(*unreadable[0])
    chosen = choose_splits(facts, images.groups, fractions)
    check_splits(name, classes, {split: images.labels[indices] for split, indices in chosen.items()})
    return {split: take(images, indices) for split, indices in chosen.items() if len(indices)}, unreadable


def choose_splits(
    facts: Facts, groups: Sequence[str] | None, fractions: Mapping[SplitName, float]
) -> dict[SplitName, NDArray[np.int64]]:
    """Gives each readable image to a split; copies, near duplicates and images of one group stay together.

    An image that stands alone goes by the hash of its pixels, a group by the hash of its name; of what hangs together
    one member decides for all. So an image can only move when something is added that it hangs together with.

    Args:
        facts: of the images.
        groups: a text an image, empty for images that belong to no group; None: there are no groups.
        fractions: expected share of each split; together 1.

    Returns:
        Per split the positions, ascending.
    """
    keys, named = facts.pixels.copy(), _named(groups)
    keys[named] = _group_keys(groups, named)
    readable = np.flatnonzero(facts.readable)
    chosen = split_by_hash(_speakers(keys, hanging_together(facts, groups))[readable], fractions)
    return {split: readable[indices] for split, indices in chosen.items()}


def hanging_together(facts: Facts, groups: Sequence[str] | None) -> NDArray[np.int64]:
    """For each image the first of those it hangs together with: copies, near copies, images of one group.

    Args:
        facts: of the images.
        groups: see :func:`choose_splits`.
    """
    named = _named(groups)
    members = [named[group] for group in equal_groups(_group_keys(groups, named))]
    links = [np.stack((group[:-1], group[1:]), axis=1) for group in members]
    return components(len(facts.pixels), np.concatenate([find_duplicates(facts).links(), *links]))


def _named(groups: Sequence[str] | None) -> NDArray[np.int64]:
    """Positions of images that belong to a group."""
    return np.flatnonzero(np.array([] if groups is None else groups, object) != "")


def _group_keys(groups: Sequence[str] | None, named: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.array([_name_hash((groups or ())[position]) for position in named.tolist()], np.uint64)


def _speakers(keys: NDArray[np.uint64], roots: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The key of the member that speaks for each image's component.

    Which member speaks must not depend on how large its key is: the smallest would nearly always choose train.
    """
    mixed = keys * _MIXER
    smallest = np.full(len(keys), _RANGE - 1, np.uint64)
    np.minimum.at(smallest, roots, mixed)
    return smallest[roots] * _UNMIXER


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def split_by_hash(
    hashes: Sequence[int] | NDArray[np.uint64], fractions: Mapping[SplitName, float]
) -> dict[SplitName, NDArray[np.int64]]:
    """Gives each image to a split by its own hash and nothing else.

    So an image stays where it is whatever else comes or goes, and equal pixels are always together.

    Args:
        hashes: pixel hashes, 0 <= hash < 2**64.
        fractions: expected share of each split; together 1.

    Returns:
        Per split the positions in ``hashes``, ascending.
    """
    bounds = [round(share * _RANGE) for share in accumulate(list(fractions.values())[:-1])]
    chosen = np.searchsorted(np.array(bounds, np.uint64), np.array(hashes, np.uint64), side="right")
    return {split: np.flatnonzero(chosen == position) for position, split in enumerate(fractions)}


def check_splits(name: str, classes: Sequence[str], labels: Mapping[SplitName, NDArray[np.int64]]) -> None:
    """Refuses a split by hash that cannot be trained on.

    Raises:
        DataError: a class has no training image, or validation has no image at all.
    """
    own = "add more, or make train/ and val/ folders yourself (in a manifest, a split column)"
    total = sum(np.bincount(values, minlength=len(classes)) for values in labels.values())
    for class_name, in_train, in_all in zip(
        classes, np.bincount(labels["train"], minlength=len(classes)), np.atleast_1d(total), strict=True
    ):
        if not in_train:
            raise DataError(f"{name}: class '{class_name}' has only {in_all} readable images, none in train: {own}")
    if not len(labels["val"]):
        raise DataError(f"{name}: {np.sum(total)} images are too few to set some aside for validation: {own}")
