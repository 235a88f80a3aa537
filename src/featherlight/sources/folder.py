"""Folders of images: ``train/ val/ [test/]`` with a folder a class in each, or just one folder a class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featherlight.errors import DataError, UnreadableImageError
from featherlight.images import load_image
from featherlight.sources.base import RGBImage, Source, Split, SplitName
from featherlight.sources.splitting import check_splits, hash_files, split_by_hash

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)

_SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_NOT_DATA = frozenset({"__macosx", "thumbs.db"})
_EXPECTED = (
    "expected one folder a class (cats/1.jpg, dogs/2.jpg), or train/ and val/ and perhaps test/ with those in each"
)
_Listing = dict[str, list[str]]  # class name -> paths relative to the root
_Items = list[tuple[str, str]]  # (path relative to the root, class name), sorted by path


@dataclass(frozen=True)
class FileReader:
    """Reads image ``i`` of a split from its file.

    Attributes:
        paths: absolute, in the split's order.
    """

    paths: tuple[str, ...]

    def __call__(self, index: int) -> RGBImage:
        """Decodes image ``index`` of the split.

        Raises:
            UnreadableImageError: the file cannot be decoded.
        """
        return load_image(self.paths[index])


def open_folder(root: Path, *, strict: bool = False) -> Source:
    """Opens a folder of images to train on; which layout it has is seen from its folders' names.

    Without split folders, and where train/ and test/ have no val/, images are split by a hash of their pixels.

    Args:
        root: existing folder.
        strict: raise at the first image that cannot be read while hashing, instead of leaving it out.

    Raises:
        DataError: no images, one class, empty classes, classes that train/ does not have, images outside of class
            folders, too few images to split; with ``strict`` an UnreadableImageError.
    """
    root = Path(os.path.abspath(root))
    folders = _find_split_folders(root)
    if "train" not in folders:
        raise DataError(f"{root}: has {', '.join(f'{name}/' for name in folders.values())} but no train/: {_EXPECTED}")
    listings = {split: _list_classes(root, folder) for split, folder in folders.items()}
    classes = _check_classes(root, folders, listings)
    items = {split: _sort_items(listing) for split, listing in listings.items()}
    fractions = _missing_fractions(folders)
    unreadable: tuple[tuple[str, str], ...] = ()
    if fractions:
        hashed, unreadable = _split_train(root, classes, items["train"], fractions, strict)
        items = {**items, **hashed}
    return _make_source(root, classes, items, unreadable)


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
    return _make_source(root, classes, {split: _sort_items(listing) for split, listing in listings.items()}, ())


def _make_source(
    root: Path, classes: tuple[str, ...], items: Mapping[SplitName, _Items], unreadable: tuple[tuple[str, str], ...]
) -> Source:
    return Source(
        name=str(root),
        classes=classes,
        splits={split: _make_split(root, classes, entries) for split, entries in items.items()},
        fingerprint=_fingerprint(root, classes, items),
        unreadable=unreadable,
    )


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
        for name in _list_names(root / folder):
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


def _list_names(folder: Path) -> list[str]:
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
    return [name for name in _list_names(folder) if os.path.isdir(folder / name)]


def _find_split_folders(root: Path) -> dict[SplitName, str]:
    """Split -> its folder's name; ``{"train": ""}`` if the classes lie directly in ``root``."""
    found: dict[SplitName, str] = {}
    for name in _list_folders(root):
        split = _SPLIT_FOLDERS.get(name.lower())
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


def _list_classes(root: Path, folder: str) -> _Listing:
    where = root / folder
    names = _list_folders(where)
    if not names:
        loose = any(is_image_name(name) for name in _list_names(where))
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
            raise DataError(f"{root}: {here}/ has classes that {there}/ does not have: {_quote(unknown)}")
    empty = [name for name in classes if not listings["train"][name]]
    where = root / folders["train"]
    if empty:
        raise DataError(f"{where}: class folders without images: {_quote(empty)}; add images or remove the folders")
    if len(classes) == 1:
        below = where / classes[0]
        hint = f"; did you mean {below}?" if len(_list_folders(below)) > 1 else f"; {_EXPECTED}"
        raise DataError(f"{where}: only one class, {_quote(classes)}, so there is nothing to tell apart{hint}")
    return classes


def _quote(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _sort_items(listing: _Listing) -> _Items:
    return sorted((path, name) for name, paths in listing.items() for path in paths)


def _missing_fractions(folders: Mapping[SplitName, str]) -> dict[SplitName, float]:
    """What a hash must split off train; nothing if the user has made val/."""
    if folders["train"] == "":
        return {"train": 0.8, "val": 0.1, "test": 0.1}
    return {} if "val" in folders else {"train": 0.9, "val": 0.1}


def _split_train(
    root: Path, classes: tuple[str, ...], items: _Items, fractions: Mapping[SplitName, float], strict: bool
) -> tuple[dict[SplitName, _Items], tuple[tuple[str, str], ...]]:
    hashes, unreadable = hash_files(root, [path for path, _ in items])
    if strict and unreadable:
        raise UnreadableImageError(*unreadable[0])
    readable = [item for item in items if item[0] in hashes]
    chosen = split_by_hash([hashes[path] for path, _ in readable], fractions)
    split = {name: [readable[i] for i in indices] for name, indices in chosen.items()}
    number = {name: index for index, name in enumerate(classes)}
    labels = {name: np.array([number[label] for _, label in part], np.int64) for name, part in split.items()}
    check_splits(str(root), classes, labels)
    return {name: part for name, part in split.items() if part}, tuple(unreadable)  # few images: perhaps no test


def _make_split(root: Path, classes: tuple[str, ...], items: _Items) -> Split:
    number = {name: index for index, name in enumerate(classes)}
    paths = tuple(os.path.join(root, path) for path, _ in items)
    return Split(np.array([number[name] for _, name in items], np.int64), paths, FileReader(paths))


def _fingerprint(root: Path, classes: tuple[str, ...], items: Mapping[SplitName, _Items]) -> str:
    """By names and sizes alone: cheap, the same wherever the folder lies."""
    digest = hashlib.sha256("\0".join(classes).encode("utf-8", "surrogateescape"))
    for split, entries in sorted(items.items()):
        digest.update(f"\0\0{split}".encode())
        for name, path in sorted((name, path) for path, name in entries):
            line = f"\0{name}\0{path}\0{_size(root, path)}"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _size(root: Path, path: str) -> int:
    try:
        return os.stat(os.path.join(root, path)).st_size
    except OSError:  # a broken link
        return -1
