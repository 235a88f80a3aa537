"""A folder of images as it is, whatever layout it has: what training would refuse or pass over is told."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featherlight.errors import DataError
from featherlight.images import is_image_file
from featherlight.phrases import joined, phrase
from featherlight.sources.base import Split, SplitName
from featherlight.sources.completing import missing_fractions
from featherlight.sources.files import FileReader
from featherlight.sources.findings.base import Finding, Severity
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Survey
from featherlight.sources.findings.wording import are, count, them
from featherlight.sources.folder import (
    EXPECTED,
    find_split_folders,
    is_image_name,
    list_files,
    list_folders,
    list_names,
)
from featherlight.sources.grouping import group_names

OTHER_FORMATS = frozenset(
    """.heic .heif .avif .jxl .jp2 .j2k .svg .psd .raw .cr2 .cr3 .nef .arw .dng .orf .rw2 .tga .ico .eps .pdf .exr .hdr
    .mp4 .mov .avi .mkv .webm .mpg .m4v .zip .tar .gz .rar .7z""".split()  # noqa: SIM905  (reads better than quotes)
)
SNIFFED_UP_TO = 1000  # files whose name says nothing


@dataclass
class _Found:
    """What turns up on the way through the folders."""

    shown: str
    root: Path
    images: list[tuple[str, str, SplitName]] = field(default_factory=list)  # path below the root, class, split
    others: list[str] = field(default_factory=list)
    classes: dict[str, dict[SplitName, str]] = field(default_factory=lambda: defaultdict(dict))
    findings: list[Finding] = field(default_factory=list)

    def name(self, relative: str) -> str:
        """A path as the person would write it."""
        return os.path.join(self.shown, relative) if relative else self.shown

    def tell(self, kind: str, severity: Severity, paths: list[str], message: str) -> None:
        self.findings.append(Finding(kind, severity, tuple(map(self.name, paths)), message))


def survey_folder(shown: str, group_by: str | None = None) -> Survey:
    """Finds all images in a folder, its classes and splits.

    Args:
        shown: an existing folder, as the person named it.
        group_by: regular expression searched in each path below it.

    Raises:
        DataError: the folder cannot be listed, or holds no image at all.
        UsageError: ``group_by`` is no regular expression, or is found in no path.
    """
    found = _Found(shown, Path(os.path.abspath(shown)))
    folders = find_split_folders(found.root)
    _check_split_folders(found, folders)
    for split, names in (folders or {"train": [""]}).items():
        for name in names:
            _enter_split(found, split, name)
    if folders:
        _look_beside(found, {name for names in folders.values() for name in names})
    if not found.images:
        raise DataError(f"{found.root}: no images; {EXPECTED}")
    found.findings.extend(_tell_ignored(found))
    return _make_survey(found, folders, group_by)


def _check_split_folders(found: _Found, folders: dict[SplitName, list[str]]) -> None:
    for split, names in folders.items():
        if len(names) > 1:
            found.tell("layout", "error", names, _one_too_many(names, split))
    if folders and "train" not in folders:
        names = [name for given in folders.values() for name in given]
        text = phrase("there is {folders}, but no train/; {expected}", folders=_listed(names), expected=EXPECTED)
        found.tell("layout", "error", names, text)


def _one_too_many(names: list[str], split: SplitName) -> str:
    return phrase("{folders} are all the {split} folder; keep one", folders=_listed(names), split=phrase(split))


def _enter_split(found: _Found, split: SplitName, folder: str) -> None:
    """Takes up the class folders in ``folder`` and what lies beside them."""
    try:
        classes = set(list_folders(found.root / folder))
        loose = [name for name in list_names(found.root / folder) if name not in classes]
    except DataError as error:
        found.tell("unreadable", "error", [folder], str(error))
        return
    for name in sorted(classes):
        below = f"{folder}/{name}" if folder else name
        found.classes[name][split] = below
        for path in _list(found, below):
            _take(found, path, name, split)
    beside = [f"{folder}/{name}" if folder else name for name in loose]
    for path in beside:
        _take(found, path, "", split)
    images = [path for path in beside if is_image_name(path)]
    if images:
        severity: Severity = "warning" if classes else "error"
        said = {"images": count(images, "image"), "are": are(images)}
        if classes:
            text = phrase(
                "{images} {are} beside the class folders; training does not use {them}", them=them(images), **said
            )
        else:
            text = phrase("{images} {are} without class folders; {expected}", expected=EXPECTED, **said)
        found.tell("layout", severity, images, text)


def _list(found: _Found, below: str) -> list[str]:
    unlisted: list[DataError] = []
    paths = list_files(found.root, below, unlisted)
    for error in unlisted:
        found.tell("unreadable", "error", [below], str(error))
    return paths


def _take(found: _Found, path: str, class_name: str, split: SplitName) -> None:
    if is_image_name(path):
        found.images.append((path, class_name, split))
    else:
        found.others.append(path)


def _look_beside(found: _Found, used: set[str]) -> None:
    """Images beside the split folders play no part in anything."""
    for name in list_names(found.root):
        if name in used:
            continue
        is_folder = os.path.isdir(found.root / name)
        images = [path for path in (_list(found, name) if is_folder else [name]) if is_image_name(path)]
        if images:
            found.tell("layout", "warning", [name], _beside_splits(images, f"{name}/" if is_folder else ""))


def _beside_splits(images: list[str], folder: str) -> str:
    if not folder:
        return phrase("an image is beside the split folders; training does not use it")
    return phrase(
        "{images} in {folder} {are} beside the split folders; training does not use {them}",
        images=count(images, "image"), folder=folder, are=are(images), them=them(images),
    )  # fmt: skip


def _tell_ignored(found: _Found) -> Iterator[Finding]:
    """Files that are not looked at, by the end of their names."""
    by_suffix: dict[str, list[str]] = defaultdict(list)
    for number, path in enumerate(sorted(found.others)):
        suffix = os.path.splitext(path)[1].lower()
        known = suffix not in OTHER_FORMATS and number < SNIFFED_UP_TO and is_image_file(found.root / path)
        by_suffix["image" if known else suffix].append(path)
    for suffix, paths in sorted(by_suffix.items()):
        severity, text = _ignored_text(suffix, paths)
        yield Finding("ignored", severity, tuple(map(found.name, paths)), text)


def _ignored_text(suffix: str, paths: list[str]) -> tuple[Severity, str]:
    said = {"files": count(paths, "file"), "are": are(paths)}
    if suffix == "image":
        hold = "hold images" if len(paths) > 1 else "holds an image"
        return "warning", phrase(
            "{files} {hold} but not the ending of one (.jpg, .png, ...); rename {them}",
            files=said["files"], hold=hold, them=them(paths),
        )  # fmt: skip
    if suffix in OTHER_FORMATS:
        return "warning", phrase(
            "{files} ending in {suffix} {are} not read; unpack or convert to JPEG or PNG", suffix=suffix, **said
        )
    if suffix:
        return "note", phrase("{files} ending in {suffix} {are} not looked at", suffix=suffix, **said)
    return "note", phrase("{files} {are} not looked at", **said)


def _make_survey(found: _Found, folders: dict[SplitName, list[str]], group_by: str | None) -> Survey:
    images = sorted(found.images)
    classes = tuple(sorted(found.classes))
    number = {name: place for place, name in enumerate(classes)}
    relative = [path for path, _, _ in images]
    split = Split(
        np.array([number[name] if name else NOWHERE for _, name, _ in images], np.int64),
        tuple(map(found.name, relative)),
        FileReader(tuple(os.path.join(found.root, path) for path in relative)),
        groups=None if group_by is None else group_names(relative, group_by),
    )
    sides = np.array([SPLITS.index(side) for _, _, side in images], np.int64)
    named = {name: {split: found.name(path) for split, path in where.items()} for name, where in found.classes.items()}
    fractions = missing_fractions(folders) if not folders or "train" in folders else {}
    return Survey(found.shown, classes, split, sides, sides, fractions, named, tuple(found.findings))


def _listed(folders: list[str]) -> str:
    return joined([f"{name}/" for name in folders])
