"""Text lists as PaddleClas and mmpretrain use them: ``path label_index`` a line, class names in a file of their own.

PaddleClas: ``train_list.txt``, ``val_list.txt``, ``test_list.txt`` beside the images, names in ``labels.txt`` or
``..._label_list.txt``, as ``name`` or ``index name`` a line (PaddleClas docs, classification_dataset_en.md).
mmpretrain: ``meta/train.txt``, ``meta/val.txt``; paths start in ``train/``, ``val/``; names in ``classes.txt``
(mmpretrain docs, dataset_prepare.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from featherlight.errors import DataError
from featherlight.sources.completing import SPLIT_WORDS
from featherlight.sources.folder import is_image_name, list_names
from featherlight.sources.manifest.cells import Rows
from featherlight.sources.manifest.remote import is_url
from featherlight.sources.manifest.table import text_lines

LIST_FOLDER = "meta"  # mmpretrain's; the images lie beside it
LIST_ENDINGS = ("_list", "_annfile", "")
_CLASS_LISTS = re.compile(r"(labels?|class(es|_names)?|(.*_)?label_list)\.txt", re.IGNORECASE)
_LINE = re.compile(r"(.*\S)\s+(\d{1,9})")
_ROWS_TRIED = 20

ClassNames = Mapping[int, str]


def is_list(file: Path) -> bool:
    """Whether a text file begins with the path of an image and a number."""
    try:
        first = next((line for line in text_lines(file) if line.strip()), "")
    except DataError:
        return False
    found = _LINE.fullmatch(first.strip())
    return found is not None and (is_image_name(found[1]) or is_url(found[1]))


def root_of(file: Path) -> Path:
    """The folder that the images of a list lie in."""
    return file.parent.parent if file.parent.name == LIST_FOLDER else file.parent


def read_list(file: Path, names: ClassNames) -> Rows:
    """Reads a text list; paths are given back relative to :func:`root_of` it.

    Args:
        file: the list.
        names: of the classes; empty: their numbers are their names.

    Raises:
        DataError: empty, no UTF-8, a line of another form, or a number that has no name.
    """
    paths: list[str] = []
    labels: list[str] = []
    for number, line in enumerate(text_lines(file), 1):
        text = line.strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise DataError(
                f"{file}, line {number}: {text!r:.80} is not a path and a number, for example: jpg/1.jpg 0; "
                "of a table with column names the name must end in .csv or .tsv"
            )
        label = int(found[2])
        if names and label not in names:
            raise DataError(
                f"{file}, line {number}: label {label} has no name among the {len(names)} in the class list"
            )
        paths.append(found[1])
        labels.append(names.get(label, str(label)))
    if not paths:
        raise DataError(f"{file}: empty; expected a path and a number on each line, for example: jpg/1.jpg 0")
    prefix = _find_prefix(file, paths[:_ROWS_TRIED])
    return Rows(paths if not prefix else [f"{prefix}/{path}" for path in paths], labels)


def _find_prefix(file: Path, paths: Sequence[str]) -> str:
    """The folder below the root that the paths start from: none, or the split's own, as mmpretrain has it."""
    root, word = root_of(file), split_word(file.stem)
    for prefix in ("", word):
        if any(os.path.exists(root / prefix / path) for path in paths):
            return prefix
    return ""


def split_word(stem: str) -> str:
    """``train_list`` -> ``train``; nothing where a name says no split."""
    words = (stem.lower().removesuffix(ending) for ending in LIST_ENDINGS)
    return next((word for word in words if word in SPLIT_WORDS), "")


def read_class_names(lists: Path) -> ClassNames:
    """Reads the class list beside text lists, or beside their folder ``meta``.

    Args:
        lists: folder of the lists.

    Returns:
        Number -> name; empty if there is no class list.

    Raises:
        DataError: several class lists, no UTF-8, or a name twice.
    """
    for folder in dict.fromkeys((lists, root_of(lists / "x"))):
        files = [name for name in list_names(folder) if _CLASS_LISTS.fullmatch(name)]
        if len(files) > 1:
            raise DataError(f"{folder}: {' and '.join(files)} could each name the classes; keep one")
        if files:
            return _parse_class_names(folder / files[0])
    return {}


def _parse_class_names(file: Path) -> ClassNames:
    lines = [line.strip() for line in text_lines(file)]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [re.fullmatch(r"(\d{1,9})\s+(.*\S)", line) for line in lines]
    found = {int(match[1]): match[2] for match in numbered if match}
    if sorted(found) not in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        found = dict(enumerate(lines))
    seen: dict[str, int] = {}
    for number, name in found.items():
        if not name or name in seen:
            problem = f"also called '{name}', as {seen[name]} is" if name else "not named"
            raise DataError(f"{file}: class {number} is {problem}; each class needs a name of its own")
        seen[name] = number
    return found
