"""Where images and labels come from: digits, CIFAR, folders, manifests; their splits and fingerprints."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from featherlight.errors import DataError, UsageError
from featherlight.sources.base import Reader, RGBImage, Source, Split, SplitName, join_splits
from featherlight.sources.choice import Choice, split_choice
from featherlight.sources.cifar import ARCHIVES, open_cifar_archive, open_cifar_folder, open_known
from featherlight.sources.digits import open_digits
from featherlight.sources.files import FileReader
from featherlight.sources.folder import is_image_name, list_images, open_folder, open_folder_as_it_is
from featherlight.sources.hugging_face import open_hugging_face
from featherlight.sources.kinds import kind_of_data
from featherlight.sources.manifest import (
    find_manifests,
    find_table,
    is_manifest_name,
    open_folder_of_lists,
    open_manifest,
)
from featherlight.sources.webdataset import open_webdataset

__all__ = [
    "KNOWN_NAMES",
    "RGBImage",
    "Reader",
    "Source",
    "Split",
    "SplitName",
    "open_images",
    "open_source",
    "open_unlabelled",
]

_KNOWN: dict[str, Callable[[], Source]] = {
    "digits": open_digits,
    "cifar10": partial(open_known, "cifar10"),
    "cifar100": partial(open_known, "cifar100"),
}
KNOWN_NAMES = tuple(_KNOWN)


def open_source(
    data: str | Path, *, strict: bool = False, as_it_is: bool = False, group_by: str | None = None
) -> Source:
    """Opens labelled images.

    Args:
        data: an existing path (a folder of images, a manifest or a folder of those, a CIFAR folder or ``.tar.gz``,
            WebDataset shards, a Hugging Face folder), a pattern or address of shards, ``hf://owner/name``, else one of
            ``KNOWN_NAMES``. Behind ``#`` may stand what of shards or tables is meant, see
            :class:`featherlight.sources.choice.Choice`.
        as_it_is: nothing is split, and the images need not be fit for training: all of them are to be measured on.
        strict: an image that cannot be read while splitting is an error, not left out.
        group_by: images of one group stay on one side when splits are cut: a regular expression searched in paths, or
            the name of a manifest's column.

    Raises:
        DataError: neither a path nor a known name, or what is there cannot be used; the message says why.
        MissingExtraError: a known name needs a package that is not installed.
    """
    path, choice = split_choice(os.path.expanduser(data))
    if str(choice) or not os.path.isdir(path):
        stored = _open_stored(path, choice, strict=strict, as_it_is=as_it_is, group_by=group_by)
        if stored is not None:
            return stored
    if str(choice):
        raise UsageError(f"{data}: only of WebDataset shards and Hugging Face data sets can be chosen what to use")
    if os.path.isdir(path):
        return _open_folder(Path(path), strict=strict, as_it_is=as_it_is, group_by=group_by)
    if os.path.isfile(path) and is_manifest_name(path):
        return open_manifest(Path(path), strict=strict, as_it_is=as_it_is, group_by=group_by)
    if os.path.isfile(path):
        return _without_groups(_open_file(Path(path)), group_by)
    if str(data) in _KNOWN:
        return _without_groups(_KNOWN[str(data)](), group_by)
    raise DataError(f"no data at '{data}': the path does not exist, and the known names are {', '.join(KNOWN_NAMES)}")


def open_images(paths: Sequence[str | Path]) -> list[str]:
    """Finds images to predict.

    Args:
        paths: files (taken as they are), folders (all images below, sorted), glob patterns (``**`` is recursive).

    Returns:
        Paths as the user named them, in the given order.

    Raises:
        DataError: a path does not exist, a folder holds no image, or a pattern matches none.
    """
    return [image for path in paths for image in _find_images(os.fspath(path))]


def open_unlabelled(data: str | Path) -> Split:
    """Opens images whatever their labels: those of a source, or all below a folder or of a pattern. All labels are 0.

    Raises:
        DataError: there are none.
    """
    try:
        split = join_splits(open_source(data, as_it_is=True))
    except DataError as error:
        try:
            paths = tuple(path for path in open_images([data]) if is_image_name(path))
        except DataError:
            paths = ()
        if not paths:
            raise error from None
        split = Split(np.zeros(len(paths), np.int64), paths, FileReader(paths))
    return dataclasses.replace(split, labels=np.zeros(len(split), np.int64), groups=None)


def _open_folder(path: Path, *, strict: bool, as_it_is: bool, group_by: str | None) -> Source:
    source = open_other_folder(path, strict=strict, as_it_is=as_it_is, group_by=group_by)
    if source is not None:
        return source
    try:
        if as_it_is:
            return open_folder_as_it_is(path)
        return open_folder(path, strict=strict, group_by=group_by)
    except DataError as error:
        table = find_table(path)
        if table is None:
            raise
        raise DataError(f"{error}; or give the manifest that lies in it: {table}") from error


def open_other_folder(path: Path, *, strict: bool, as_it_is: bool, group_by: str | None) -> Source | None:
    """Opens a folder that holds something else than images in class folders; None if it does not.

    Raises:
        DataError: it does, and that cannot be used.
    """
    stored = _open_stored(str(path), Choice(), strict=strict, as_it_is=as_it_is, group_by=group_by)
    if stored is not None:
        return stored
    cifar = open_cifar_folder(path)
    if cifar is not None:
        return _without_groups(cifar, group_by)
    manifests = find_manifests(path)
    if manifests:
        return open_folder_of_lists(path, manifests, strict=strict, as_it_is=as_it_is, group_by=group_by)
    return None


def _open_stored(path: str, choice: Choice, *, strict: bool, as_it_is: bool, group_by: str | None) -> Source | None:
    """Opens shards or a Hugging Face data set; None for all else."""
    kind = kind_of_data(path)
    if kind is None:
        return None
    opener = open_webdataset if kind == "shards" else open_hugging_face
    return opener(path, choice, strict=strict, as_it_is=as_it_is, group_by=group_by)


def _without_groups(source: Source, group_by: str | None) -> Source:
    if group_by is not None:
        raise UsageError(f"--group-by: the images of {source.name} have no names that tell groups; leave it out")
    return source


def _open_file(path: Path) -> Source:
    if path.name.lower().endswith(ARCHIVES):
        return open_cifar_archive(path)
    packed = path.suffix.lower() in (".zip", ".tar", ".7z", ".rar")
    others = "a folder of images, a manifest (.csv, .tsv, .parquet, .jsonl, .txt), or a CIFAR .tar.gz"
    advice = "unpack it and give the folder" if packed else f"give {others}"
    raise DataError(f"{path}: is a file; {advice}")


def _find_images(path: str) -> list[str]:
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        return _in_folder(expanded) or _refuse(path, "the folder holds no image")
    if os.path.exists(expanded):
        return [expanded]
    if not glob.has_magic(expanded):
        _refuse(path, "no such file or folder")
    matches = sorted(glob.glob(expanded, recursive=True))
    folders = [match for match in matches if os.path.isdir(match)]
    files = [match for match in matches if is_image_name(match) and not os.path.isdir(match)]
    below = [image for folder in folders for image in _in_folder(folder)]
    return sorted({*files, *below}) or _refuse(path, "the pattern matches no image")


def _in_folder(folder: str) -> list[str]:
    return [os.path.join(folder, relative) for relative in list_images(Path(folder))]


def _refuse(path: str, reason: str) -> list[str]:
    raise DataError(f"{path}: {reason}")
