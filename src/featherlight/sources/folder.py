"""Folders of images: ``train/ val/ [test/]`` with a folder a class in each, or just one folder a class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from featherlight.errors import DataError, quote_names
from featherlight.sources.base import Source, Split, SplitName
from featherlight.sources.completing import SPLIT_WORDS, finish_source, missing_fractions
from featherlight.sources.files import FileReader
from featherlight.sources.grouping import group_names

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)

_NOT_DATA = frozenset({"__macosx", "thumbs.db"})
_EXPECTED = (
    "expected one folder a class (cats/1.jpg, dogs/2.jpg), or train/ and val/ and perhaps test/ with those in each"
)
_Listing = dict[str, list[str]]  # class name -> paths relative to the root
_Items = list[tuple[str, str]]  # (path relative to the root, class name), sorted by path


def open_folder(root: Path, *, strict: bool = False, group_by: str | None = None) -> Source:
    """Opens a folder of images to train on; which layout it has is seen from its folders' names.

    Without split folders, and where train/ and test/ have no val/, images are split by a hash of their pixels.

    Args:
        root: existing folder.
        strict: raise at the first image that cannot be read while splitting, instead of leaving it out.
        group_by: regular expression searched in each path below ``root``; images for which it gives the same text stay
            on one side.

    Raises:
        UsageError: ``group_by`` is no regular expression.
        DataError: no images, one class, empty classes, classes that train/ does not have, images outside of class
            folders, too few images to split; with ``strict`` an UnreadableImageError.
    """
    root = Path(os.path.abspath(root))
    folders = _find_split_folders(root)
    listings = {split: _list_classes(root, folder) for split, folder in folders.items()}
    classes = _check_classes(root, folders, listings)
    splits = {split: _make_split(root, classes, _sort_items(listing), group_by) for split, listing in listings.items()}
    given = () if folders == {"train": ""} else tuple(folders)
    return finish_source(str(root), root, classes, splits, missing_fractions(given), strict=strict)


def open_folder_as_it_is(root: Path) -> Source:
    """Opens a folder of images to measure a model on: nothing is split, few images and a single class will do.

    Images that lie in class folders without split folders are the ``test`` split.

    Raises:
        DataError: no images, or images outside of class folders.
    """
    root = Path(os.path.abspath(root))
    folders = _find_split_folders(root)
    listings = {split: _list_classes(root, folder) for split, folder in folders.items()}
    if folders == {"train": ""}:
        listings = {"test": listings["train"]}
    classes = tuple(sorted({name for listing in listings.values() for name, paths in listing.items() if paths}))
    splits = {split: _make_split(root, classes, _sort_items(listing)) for split, listing in listings.items()}
    return finish_source(str(root), root, classes, splits, {})


def list_images(root: Path, below: str = "") -> list[str]:
    """Image files in ``root/below`` and its folders, as POSIX paths relative to ``root``, sorted.

    Images are known by their extension. Hidden files are left out, links followed, each folder entered once.

    Raises:
        DataError: a folder cannot be listed.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    pending = [below]
    while pending:
        folder = pending.pop()
        if not _enter(root / folder, entered):
            continue
        for name in list_names(root / folder):
            relative = f"{folder}/{name}" if folder else name
            path = os.path.join(root, relative)
            if os.path.isdir(path):
                pending.append(relative)
            elif is_image_name(name) and (os.path.isfile(path) or os.path.islink(path)):
                found.append(relative)  # a broken link too: it is reported as unreadable, not passed over in silence
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Whether a file's extension is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_names(folder: Path) -> list[str]:
    """What lies in ``folder`` and may be data, sorted.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    return sorted(name for name in names if not name.startswith(".") and name.lower() not in _NOT_DATA)


def _enter(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """False for a folder that was seen before: links can lead in circles."""
    status = folder.stat()
    key = (status.st_dev, status.st_ino)
    is_new = key not in entered
    entered.add(key)
    return is_new


def _list_folders(folder: Path) -> list[str]:
    return [name for name in list_names(folder) if os.path.isdir(folder / name)]


def _find_split_folders(root: Path) -> dict[SplitName, str]:
    """Split -> its folder's name; ``{"train": ""}`` if the classes lie directly in ``root``."""
    found: dict[SplitName, str] = {}
    for name in _list_folders(root):
        split = SPLIT_WORDS.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(f"{root}: '{found[split]}' and '{name}' are both the {split} folder; keep one")
        found[split] = name
    # A class may be called "train" (beside "bus" and "car"): then it holds images, not folders, and has no sibling.
    is_split = any(_list_folders(root / name) for name in found.values()) or ("train" in found and len(found) > 1)
    if not is_split:
        return {"train": ""}
    if "train" not in found:
        raise DataError(f"{root}: has {', '.join(f'{name}/' for name in found.values())} but no train/: {_EXPECTED}")
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def has_class_folders(root: Path) -> bool:
    """Whether a folder holds several folders that may be classes, with or without split folders above them."""
    return any(len(_list_folders(root / folder)) > 1 for folder in _find_split_folders(root).values())


def _list_classes(root: Path, folder: str) -> _Listing:
    where = root / folder
    names = _list_folders(where)
    if not names:
        loose = any(is_image_name(name) for name in list_names(where))
        problem = "images lie loose, without class folders" if loose else "no images"
        raise DataError(f"{where}: {problem}; {_EXPECTED}")
    listing = {name: list_images(root, f"{folder}/{name}" if folder else name) for name in names}
    if not any(listing.values()):
        raise DataError(f"{where}: no images; {_EXPECTED}")
    return listing


def _check_classes(
    root: Path, folders: Mapping[SplitName, str], listings: Mapping[SplitName, _Listing]
) -> tuple[str, ...]:
    classes = tuple(sorted(listings["train"]))
    for split, listing in listings.items():
        unknown = sorted(set(listing) - set(classes))
        if unknown:
            here, there = folders[split], folders["train"]
            raise DataError(f"{root}: {here}/ has classes that {there}/ does not have: {quote_names(unknown, 10)}")
    empty = [name for name in classes if not listings["train"][name]]
    where = root / folders["train"]
    if empty:
        raise DataError(
            f"{where}: class folders without images: {quote_names(empty, 10)}; add images or remove the folders"
        )
    if len(classes) == 1:
        below = where / classes[0]
        hint = f"; did you mean {below}?" if len(_list_folders(below)) > 1 else f"; {_EXPECTED}"
        raise DataError(f"{where}: only one class, {quote_names(classes)}, so there is nothing to tell apart{hint}")
    return classes


def _sort_items(listing: _Listing) -> _Items:
    return sorted((path, name) for name, paths in listing.items() for path in paths)


def _make_split(root: Path, classes: tuple[str, ...], items: _Items, group_by: str | None = None) -> Split:
    number = {name: index for index, name in enumerate(classes)}
    paths = tuple(os.path.join(root, path) for path, _ in items)
    labels = np.array([number[name] for _, name in items], np.int64)
    groups = None if group_by is None else group_names([path for path, _ in items], group_by)
    return Split(labels, paths, FileReader(paths), groups=groups)
