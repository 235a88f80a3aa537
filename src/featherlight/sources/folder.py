"""Folders of images: ``train/ val/ [test/]`` with a folder a class in each, or just one folder a class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from featherlight.errors import DataError, quote_names
from featherlight.phrases import phrase
from featherlight.sources.base import Source, Split, SplitName
from featherlight.sources.completing import SPLIT_WORDS, finish_source, missing_fractions
from featherlight.sources.files import FileReader
from featherlight.sources.grouping import group_names

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)

_NOT_DATA = frozenset({"__macosx", "thumbs.db"})
EXPECTED = phrase(
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

    Images are known by their extension; otherwise as :func:`list_files`.
    """
    return [path for path in list_files(root, below) if is_image_name(path)]


def list_files(root: Path, below: str = "", unlisted: list[DataError] | None = None) -> list[str]:
    """Files in ``root/below`` and its folders, as POSIX paths relative to ``root``, sorted.

    Hidden files are left out, links followed, each folder entered once.

    Args:
        root: an existing folder.
        below: a folder in it, relative; empty for ``root`` itself.
        unlisted: takes up the error of each folder that cannot be listed; None: the first one is raised.

    Raises:
        DataError: a folder cannot be listed.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    for parent in Path(below).parents:  # a link back to one would bring the images of other classes along
        _enter(root / parent, entered)
    pending = [below]
    while pending:
        folder = pending.pop()
        for name in _names_to_enter(root / folder, entered, unlisted):
            relative = f"{folder}/{name}" if folder else name
            path = os.path.join(root, relative)
            if os.path.isdir(path):
                pending.append(relative)
            else:  # a broken link or a pipe too: it is reported as unreadable, not passed over in silence
                found.append(relative)
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Whether a file's extension is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _names_to_enter(folder: Path, entered: set[tuple[int, int]], unlisted: list[DataError] | None) -> list[str]:
    """What to look at in a folder: nothing if it was seen before, or cannot be listed and that is no reason to stop."""
    try:
        return list_names(folder) if _enter(folder, entered) else []
    except DataError as error:
        if unlisted is None:
            raise
        unlisted.append(error)
        return []


def list_names(folder: Path) -> list[str]:
    """What lies in ``folder`` and may be data, sorted.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise _unlistable(folder, error) from error
    return sorted(name for name in names if not name.startswith(".") and name.lower() not in _NOT_DATA)


def _unlistable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder}: cannot be listed ({error.strerror or error})")


def _enter(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """False for a folder that was seen before: links can lead in circles."""
    try:
        status = folder.stat()
    except OSError as error:
        raise _unlistable(folder, error) from error
    key = (status.st_dev, status.st_ino)
    is_new = key not in entered
    entered.add(key)
    return is_new


def list_folders(folder: Path) -> list[str]:
    """The folders in ``folder``, sorted; errors as :func:`list_names`."""
    return [name for name in list_names(folder) if os.path.isdir(folder / name)]


def _find_split_folders(root: Path) -> dict[SplitName, str]:
    """Split -> its folder's name; ``{"train": ""}`` if the classes lie directly in ``root``."""
    found = find_split_folders(root)
    if not found:
        return {"train": ""}
    for split, names in found.items():
        if len(names) > 1:
            raise DataError(f"{root}: '{names[0]}' and '{names[1]}' are both the {split} folder; keep one")
    if "train" not in found:
        have = ", ".join(f"{name}/" for name in sorted(names[0] for names in found.values()))
        raise DataError(f"{root}: has {have} but no train/: {EXPECTED}")
    return {split: names[0] for split, names in found.items()}


def find_split_folders(root: Path) -> dict[SplitName, list[str]]:
    """Split -> its folders' names, of which there should be one; empty if the classes lie directly in ``root``."""
    names = [name for name in list_folders(root) if name.lower() in SPLIT_WORDS]
    found: dict[SplitName, list[str]] = {split: [] for split in ("train", "val", "test")}
    for name in names:
        found[SPLIT_WORDS[name.lower()]].append(name)
    found = {split: folders for split, folders in found.items() if folders}
    # A class may be called "train" (beside "bus" and "car"): then it holds images, not folders, and has no sibling.
    is_split = any(_has_folders(root / name) for name in names) or ("train" in found and len(found) > 1)
    return found if is_split else {}


def _has_folders(folder: Path) -> bool:
    try:
        return bool(list_folders(folder))
    except DataError:  # told when it is entered
        return True


def has_class_folders(root: Path) -> bool:
    """Whether a folder holds several folders that may be classes, with or without split folders above them."""
    folders = find_split_folders(root) or {"train": [""]}
    return any(len(list_folders(root / name)) > 1 for names in folders.values() for name in names)


def _list_classes(root: Path, folder: str) -> _Listing:
    where = root / folder
    names = list_folders(where)
    if not names:
        loose = any(is_image_name(name) for name in list_names(where))
        problem = "images lie loose, without class folders" if loose else "no images"
        raise DataError(f"{where}: {problem}; {EXPECTED}")
    listing = {name: list_images(root, f"{folder}/{name}" if folder else name) for name in names}
    if not any(listing.values()):
        raise DataError(f"{where}: no images; {EXPECTED}")
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
        hint = f"; did you mean {below}?" if len(list_folders(below)) > 1 else f"; {EXPECTED}"
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
