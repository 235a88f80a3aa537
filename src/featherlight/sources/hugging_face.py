"""Hugging Face data sets: folders on this disk, or names on the hub (``hf://owner/name``).

The library ``datasets`` brings tables into Arrow files; from there on images are read by their row out of the mapped
files, so memory stays bounded and all processes share the same pages. Images are decoded by Featherlight, not by it.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.download import OFFLINE
from featherlight.errors import DataError, UsageError, explain_missing
from featherlight.sources.arrow_rows import ArrowFile, ArrowRows, ArrowTable, find_files, open_table
from featherlight.sources.base import Source, SplitName
from featherlight.sources.choice import Choice
from featherlight.sources.grouping import group_names
from featherlight.sources.kinds import HUB, SAVED_TABLES
from featherlight.sources.labelled import Part, labelled_source, split_in_name
from featherlight.sources.shards import memory_bytes

_HUB_NAME = re.compile(
    r"hf://(?:datasets/)?(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[^@]+))?(?:@(?P<revision>.+))?"
)
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")  # where no type tells
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "class_name", "category", "target")


def open_hugging_face(
    data: str,
    choice: Choice,
    *,
    strict: bool = False,
    as_it_is: bool = False,
    group_by: str | None = None,
) -> Source:
    """Opens a Hugging Face data set.

    Args:
        data: a folder written by ``save_to_disk``, one with Parquet or Arrow files, a Parquet file, or
            ``hf://owner/name``, with ``:config`` and ``@revision`` where wanted.
        choice: which columns hold image and label, and which configuration is meant.
        strict: raise at the first image that cannot be read while splitting.
        as_it_is: nothing is split; all of it is to be measured on.
        group_by: a column, or a regular expression searched in the images' paths; images of one group stay together.

    Raises:
        MissingExtraError: the extra ``huggingface`` is not installed.
        UsageError: no name as above.
        DataError: it cannot be had or read, or what :func:`labelled_source` refuses.
    """
    name = data if data.startswith(HUB) else os.path.abspath(data)
    root = data.removeprefix(HUB) if data.startswith(HUB) else name
    tables = _load(name, choice)
    features = next(iter(tables.values())).features
    image = choice.image or _find_image(name, features)
    label = choice.label or _find_label(name, features, image)
    parts = {
        split: _make_part(f"{root}/{title}", table, image, label, group_by)
        for split, (title, table) in _name_splits(name, tables).items()
    }
    names = getattr(features[label], "names", None)
    return labelled_source(f"{name}{choice}", parts, names, root=root, strict=strict, as_it_is=as_it_is)


def _load(name: str, choice: Choice) -> Mapping[str, Any]:
    """The tables of the data set, by the names of its splits."""
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise explain_missing(error, "a Hugging Face data set") from error
    try:
        if any(os.path.isfile(os.path.join(name, file)) for file in SAVED_TABLES):
            found = datasets.load_from_disk(name, keep_in_memory=False)
        elif name.startswith(HUB):
            repo, config, revision = _parse(name)
            found = datasets.load_dataset(repo, choice.config or config, revision=revision, keep_in_memory=False)
        elif os.path.isfile(name):
            found = datasets.load_dataset("parquet", data_files=glob.escape(name), keep_in_memory=False)
        else:
            found = datasets.load_dataset(name, choice.config, keep_in_memory=False)
    except UsageError:
        raise
    except Exception as error:  # libraries below it raise what they please
        raise _explain(name, error) from error
    tables = found if isinstance(found, dict) else {str(found.split or "all"): found}
    if not tables:
        raise DataError(f"{name}: holds no images")
    return tables


def _parse(name: str) -> tuple[str, str | None, str | None]:
    """Repository, configuration and revision of a name on the hub."""
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name}: is no name on the hub; write hf://owner/name, hf://owner/name:config@revision")
    if os.path.isdir(match["repo"]):
        raise UsageError(f"{name}: a folder {match['repo']} lies here and would be read instead; start from elsewhere")
    return match["repo"], match["config"], match["revision"]


def _explain(name: str, error: Exception) -> DataError:
    """What to do about an error of the library."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    configs = re.search(r"available configs: (\[.*?\])", text)
    if configs:
        return DataError(f"{name}: has several configurations, {configs[1]}; add one to its name: #config=NAME")
    if not name.startswith(HUB):
        return DataError(f"{name}: cannot be read as a Hugging Face data set ({text})")
    repo = _parse(name)[0]
    return DataError(
        f"{name}: cannot be had from the hub ({text}). Without a network, set HF_HOME to a cache that holds it, or "
        f"fetch it elsewhere (hf download {repo} --repo-type dataset --local-dir DIR) and give that folder; what is "
        "private needs a token (hf auth login, or HF_TOKEN)"
    )


def _find_image(name: str, features: Mapping[str, Any]) -> str:
    """The column of images: told by its type, else by its name."""
    images = [column for column, kind in features.items() if type(kind).__name__ == "Image"]
    images = images or [column for column in IMAGE_COLUMNS if column in features][:1]
    if len(images) == 1:
        return images[0]
    if images:
        raise DataError(
            f"{name}: has several columns of images, {', '.join(images)}; say which one to learn from by adding to its "
            f"name: #image={images[0]}"
        )
    raise DataError(f"{name}: has no column of images; there are: {', '.join(features)}")


def _find_label(name: str, features: Mapping[str, Any], image: str) -> str:
    """The column of labels: told by its type, else by its name."""
    typed = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    named = [column for column in _LABEL_COLUMNS if column in features and column != image]
    labels = [column for column in typed if column in named[:1]] or typed or named[:1]
    if len(labels) == 1:
        return labels[0]
    if labels:
        raise DataError(
            f"{name}: has several columns of labels, {', '.join(labels)}; say which one to learn by adding to its "
            f"name: #label={labels[0]}"
        )
    raise DataError(f"{name}: has no column of labels; say which one it is by adding to its name: #label=COLUMN; "
                    f"there are: {', '.join(features)}")  # fmt: skip


def _name_splits(name: str, tables: Mapping[str, Any]) -> dict[SplitName | None, tuple[str, Any]]:
    """The tables by our names of splits; a single one is not split yet, since its name is only a custom."""
    if len(tables) == 1:
        title, table = next(iter(tables.items()))
        is_whole = split_in_name(str(title)) in (None, "train")
        return {None if is_whole else split_in_name(str(title)): (title, table)}
    found: dict[SplitName | None, tuple[str, Any]] = {}
    for title, table in tables.items():
        split = split_in_name(str(title))
        if split is None:
            note(f"{name}: the split {title} is left out, since it is none of train, validation and test")
        elif split in found:
            raise DataError(f"{name}: its splits {found[split][0]} and {title} are both {split}; give a folder of one")
        else:
            found[split] = title, table
    if not found:
        raise DataError(f"{name}: none of its splits is train, validation or test; there are: {', '.join(tables)}")
    return found


def _make_part(name: str, table: Any, image: str, label: str, group_by: str | None) -> Part:
    files = find_files([str(file["filename"]) for file in table.cache_files])
    rows = open_table(files) if files else None
    if rows is None or int(rows.file_ends[-1]) != len(table):
        raise DataError(f"{name}: is not stored as whole Arrow files; save it anew with save_to_disk")
    for column in (image, label):
        if column not in rows.columns:
            raise DataError(f"{name}: has no column {column}; there are: {', '.join(rows.columns)}")
    labels = [_as_label(name, label, value) for value in rows.values(label)]
    stored = rows.values(image, "path") if rows.has_field(image, "path") else [None] * len(table)
    paths = _name_rows(name, stored)
    groups = None
    if group_by in rows.columns:
        groups = tuple("" if value is None else str(value) for value in rows.values(group_by))
    elif group_by is not None:
        groups = group_names(paths, group_by)
    return Part(paths, labels, ArrowRows(files, image, paths), groups=groups, shards=_shards(files, rows, len(table)))


def _as_label(name: str, column: str, value: object) -> str | None:
    if value is None or (isinstance(value, int) and value < 0):  # the hub's test images often have -1
        return None
    if not isinstance(value, (str, int)):
        raise DataError(f"{name}: the column {column} holds {type(value).__name__}, but a label is a text or a number")
    return str(value).strip() or None


def _name_rows(root: str, stored: Sequence[str | None]) -> tuple[str, ...]:
    """``ROOT/000042/IMG_1118.jpg``: the row, and the name that the image once had, if it is known."""
    names = (f"/{os.path.basename(path)}" if path else "" for path in stored)
    return tuple(f"{root}/{row:06d}{name}" for row, name in enumerate(names))


def _shards(files: Sequence[ArrowFile], rows: ArrowTable, count: int) -> NDArray[np.int64] | None:
    """Which file holds each image, where the files are larger than the memory that could hold their pages."""
    is_large = sum(file.size for file in files) > memory_bytes()
    return rows.file_of(np.arange(count)).astype(np.int64) if is_large else None
