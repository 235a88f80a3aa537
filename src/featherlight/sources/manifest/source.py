"""Rows of a manifest become a source: classes, absolute paths, splits."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.errors import DataError, UnreadableImageError, quote_names
from featherlight.sources.base import Source, Split, SplitName
from featherlight.sources.completing import finish_source, missing_fractions
from featherlight.sources.files import FileReader
from featherlight.sources.manifest.cells import Rows
from featherlight.sources.manifest.remote import RemoteReader, is_url
from featherlight.sources.stores import is_stored

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_Indices = list[int]


def make_source(
    name: str,
    root: Path,
    rows: Rows,
    *,
    class_order: Sequence[str] = (),
    as_it_is: bool = False,
    strict: bool = False,
) -> Source:
    """Makes a source of the rows of one or several manifests.

    Images are taken in the order of their paths, so the order of rows plays no part. Rows that say no split are split
    by the hash of their pixels; where there is no val, it is cut out of train.

    Args:
        name: of the manifest, absolute.
        root: folder that relative paths start from.
        rows: checked.
        class_order: names of classes in label order; by default they are sorted.
        as_it_is: nothing is cut, few images and a single class will do; without splits all are ``test``.
        strict: a file that does not exist is an error, as is an image that cannot be read while splitting.

    Raises:
        DataError: one class, classes that train lacks, no training rows, too few images to split.
    """
    classes = _sorted_classes(set(rows.labels), class_order)
    if len(classes) < len(class_order):
        note(f"{name}: {len(class_order) - len(classes):,} of {len(class_order):,} named classes have no images")
    paths = [locate(str(root), path) for path in rows.paths]
    members = _members(rows, paths, "test" if as_it_is else "train")
    if not as_it_is:
        _check_classes(name, rows, classes, members)
    _note_repeated(name, rows, paths)
    if strict:
        _find_absent(paths)
    labels = _numbers(rows.labels, classes)
    splits = {split: _make_split(rows, paths, labels, chosen) for split, chosen in members.items()}
    fractions = {} if as_it_is else missing_fractions(() if rows.splits is None else splits)
    return finish_source(name, root, classes, splits, fractions, strict=strict)


def _sorted_classes(found: Collection[str], order: Sequence[str]) -> tuple[str, ...]:
    """Those that have images: in the order given, else numbers by value and names by letters."""
    if order:
        return tuple(name for name in order if name in found)
    if all(name.isdecimal() and name.isascii() for name in found):
        return tuple(sorted(found, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(found))


def locate(root: str, path: str) -> str:
    """Where an image is that a manifest in the folder ``root`` names."""
    if is_url(path) or is_stored(path):
        return path
    located = os.path.join(root, path)
    if "\\" in path and os.sep == "/" and not os.path.lexists(located):  # written on Windows
        return os.path.join(root, path.replace("\\", "/"))
    return located


def _members(rows: Rows, paths: Sequence[str], default: SplitName) -> dict[SplitName, _Indices]:
    """Which rows each split holds, in the order of their paths."""
    order = sorted(range(len(paths)), key=paths.__getitem__)
    if rows.splits is None:
        return {default: order}
    given = rows.splits
    found = {split: [row for row in order if given[row] == split] for split in _SPLITS}
    return {split: chosen for split, chosen in found.items() if chosen}


def _check_classes(name: str, rows: Rows, classes: Sequence[str], members: dict[SplitName, _Indices]) -> None:
    if "train" not in members:
        raise DataError(f"{name}: no row is in the train split, only in {', '.join(members)}")
    known = {rows.labels[row] for row in members["train"]}
    for split, chosen in members.items():
        unknown = sorted({rows.labels[row] for row in chosen} - known)
        if unknown:
            raise DataError(f"{name}: {split} has classes that train does not have: {quote_names(unknown, 10)}")
    if len(classes) == 1:
        raise DataError(f"{name}: only one class, {quote_names(classes)}, so there is nothing to tell apart")


def _note_repeated(name: str, rows: Rows, paths: Sequence[str]) -> None:
    """Rows are taken as they are; that some name one image is told, since it is seldom meant."""
    repeated = len(paths) - len(set(paths))
    if not repeated:
        return
    different = len(set(zip(paths, rows.labels, strict=True))) - len(set(paths))
    labels = f", {different:,} of them with another label" if different else ""
    note(f"{name}: {repeated:,} rows name an image that another row names too{labels}; all count")


def _find_absent(paths: Sequence[str]) -> None:
    for path in paths:
        if not is_url(path) and not os.path.exists(path):
            raise UnreadableImageError(path, "no such file")


def _numbers(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    number = {name: index for index, name in enumerate(classes)}
    return np.fromiter(map(number.__getitem__, labels), np.int64, len(labels))


def _make_split(rows: Rows, paths: Sequence[str], labels: NDArray[np.int64], chosen: _Indices) -> Split:
    named = tuple(paths[row] for row in chosen)
    return Split(
        labels[chosen],
        named,
        RemoteReader(named) if any(map(is_url, named)) else FileReader(named),
        weights=None if rows.weights is None else rows.weights[chosen],
        groups=None if rows.groups is None else tuple(rows.groups[row] for row in chosen),
    )
