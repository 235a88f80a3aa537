"""A manifest, or a folder with one for each split, becomes a source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from featherlight.console import note
from featherlight.errors import DataError, UsageError, quote_names
from featherlight.sources.base import Source, SplitName
from featherlight.sources.completing import SPLIT_WORDS, missing_fractions
from featherlight.sources.folder import has_class_folders, list_names
from featherlight.sources.grouping import group_names
from featherlight.sources.manifest.cells import Rows, join_rows, read_names, read_rows
from featherlight.sources.manifest.columns import find_path_column, find_roles, wanted_columns
from featherlight.sources.manifest.csv_file import read_csv
from featherlight.sources.manifest.json_lines import read_json_lines
from featherlight.sources.manifest.lists import LIST_FOLDER, is_list, read_class_names, read_list, root_of, split_word
from featherlight.sources.manifest.parquet import read_parquet
from featherlight.sources.manifest.source import locate, make_source
from featherlight.sources.manifest.table import Table, Wanted

_LIST = ".txt"
_READERS: Mapping[str, Callable[[Path, Wanted], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
    ".parquet": read_parquet,
    ".pq": read_parquet,
}
MANIFEST_SUFFIXES = (*_READERS, _LIST)
_Files = dict[SplitName, Path]


def is_manifest_name(name: str) -> bool:
    """Whether a file's ending is that of a manifest."""
    return _suffix(name) in MANIFEST_SUFFIXES


def open_manifest(file: Path, *, strict: bool = False, as_it_is: bool = False, group_by: str | None = None) -> Source:
    """Opens one manifest.

    Args:
        file: existing file whose name ends in one of ``MANIFEST_SUFFIXES``.
        strict: a file that does not exist is an error, as is an image that cannot be read while splitting.
        as_it_is: nothing is cut, few images and a single class will do; without splits all are ``test``.
        group_by: the column whose text images of one group share, else a regular expression searched in the paths.

    Raises:
        DataError: the manifest cannot be used; the message says where, and what to do.
        MissingExtraError: Parquet needs PyArrow.
        UsageError: ``group_by`` is neither a column nor a regular expression that is found.
    """
    file = Path(os.path.abspath(file))
    if _suffix(file.name) != _LIST:
        rows = _read_table(file, group_by, as_it_is=as_it_is)
        return make_source(str(file), file.parent, rows, as_it_is=as_it_is, strict=strict)
    names = read_class_names(file.parent)
    rows = _grouped(read_list(file, names), group_by)
    order = tuple(names.values())
    return make_source(str(file), root_of(file), rows, class_order=order, as_it_is=as_it_is, strict=strict)


def is_table_name(name: str) -> bool:
    """Whether a file's ending is that of a manifest with columns."""
    return _suffix(name) in _READERS


def read_image_names(file: Path) -> list[str]:
    """The paths and addresses in a manifest with columns, as they are meant, in its order; labels do not matter.

    Raises:
        DataError: it cannot be read, or no column names images.
        MissingExtraError: Parquet needs PyArrow.
    """
    return image_names(_READERS[_suffix(file.name)](file, wanted_columns(None)))


def image_names(table: Table) -> list[str]:
    """As :func:`read_image_names`, of a table that is read."""
    names = read_names(table, find_path_column(table))
    return [locate(os.path.dirname(table.file), name) for name in names]


def find_manifests(folder: Path) -> _Files:
    """The manifest of each split in a folder, if it is a data set in lists; else nothing.

    Text lists may also lie in ``meta`` within. Tables (``train.csv``, ``val.jsonl``) count only where there are no
    class folders: beside those they may say anything.

    Raises:
        DataError: two manifests for one split.
    """
    for place in (folder, folder / LIST_FOLDER):
        lists = [file for file in _files_by_split(place) if _suffix(file.name) == _LIST and is_list(file)]
        if lists:
            return _by_split(lists)
    tables = [file for file in _files_by_split(folder) if _suffix(file.name) in _READERS]
    has_train = any(split_word(file.stem).startswith("train") for file in tables)
    return _by_split(tables) if has_train and not has_class_folders(folder) else {}


def find_table(folder: Path) -> Path | None:
    """A table in a folder without class folders: perhaps that was meant."""
    tables = [name for name in list_names(folder) if _suffix(name) in _READERS]
    return folder / tables[0] if tables and not has_class_folders(folder) else None


def open_folder_of_lists(
    folder: Path, files: _Files, *, strict: bool = False, as_it_is: bool = False, group_by: str | None = None
) -> Source:
    """Opens a folder in which each split has a manifest of its own.

    Args:
        folder: is the source's name.
        files: as :func:`find_manifests` gave them.
        strict: see :func:`open_manifest`.
        as_it_is: likewise.
        group_by: likewise.

    Raises:
        DataError: see :func:`open_manifest`.
    """
    folder = Path(os.path.abspath(folder))
    first = next(iter(files.values()))
    is_text = _suffix(first.name) == _LIST
    names = read_class_names(first.parent) if is_text else {}
    parts = {
        split: _grouped(read_list(file, names), group_by) if is_text else _read_part(file, group_by)
        for split, file in files.items()
    }
    if is_text and _is_unlabelled(parts):
        note(f"{files['test']}: every image has the same label, as where labels are secret; it is left out")
        del parts["test"]
    root = folder if is_text else first.parent
    order = tuple(names.values())
    return make_source(str(folder), root, join_rows(parts), class_order=order, as_it_is=as_it_is, strict=strict)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _files_by_split(folder: Path) -> list[Path]:
    """Files whose names say a split."""
    if not folder.is_dir():
        return []
    names = (name for name in list_names(folder) if split_word(os.path.splitext(name)[0]))
    return [folder / name for name in names if os.path.isfile(folder / name)]


def _by_split(files: list[Path]) -> _Files:
    found: _Files = {}
    for file in files:
        split = SPLIT_WORDS[split_word(file.stem)]
        if split in found:
            raise DataError(
                f"{file.parent}: {found[split].name} and {file.name} both list the {split} images; keep one"
            )
        found[split] = file
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _is_unlabelled(parts: Mapping[SplitName, Rows]) -> bool:
    """Test lists of contests give every image the label 0."""
    if "test" not in parts or "train" not in parts:
        return False
    return len(parts["test"].labels) > 1 == len(set(parts["test"].labels)) < len(set(parts["train"].labels))


def _read_part(file: Path, group_by: str | None) -> Rows:
    rows = _read_table(file, group_by, as_it_is=True)
    if rows.splits is not None:
        raise DataError(f"{file}: its name says the split, and so does a column of it; give the file alone")
    return rows


def _read_table(file: Path, group_by: str | None, *, as_it_is: bool) -> Rows:
    table = _READERS[_suffix(file.name)](file, wanted_columns(group_by))
    roles = find_roles(table, group_by)
    if not len(table):
        raise DataError(f"{file}: has columns, but no rows")
    rows = read_rows(table, roles)
    if group_by is not None and group_by not in table.columns:
        return _grouped(rows, group_by, table)
    if not as_it_is and missing_fractions(set(rows.splits or ())):
        _explain_groups(table, roles.groups)
    return rows


def _explain_groups(table: Table, columns: tuple[str, ...]) -> None:
    if len(columns) > 1:
        raise DataError(
            f"{table.file}: {quote_names(columns)} could each tell which images belong together; "
            "say which with --group-by COLUMN"
        )
    if columns:
        note(f"{table.file}: images with the same '{columns[0]}' stay on one side when splits are cut")


def _grouped(rows: Rows, group_by: str | None, table: Table | None = None) -> Rows:
    """Rows with groups that a pattern finds in their paths."""
    if group_by is None:
        return rows
    try:
        return dataclasses.replace(rows, groups=list(group_names(rows.paths, group_by)))
    except UsageError as error:
        columns = f"; nor is it a column: {quote_names(table.names)}" if table is not None else ""
        raise UsageError(f"{error}{columns}") from error
