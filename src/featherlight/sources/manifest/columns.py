"""Which column of a manifest is what, told by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from featherlight.errors import DataError, quote_names
from featherlight.sources.manifest.table import Table, Wanted

GROUP = "group"
# As they look without case, spaces, hyphens and underscores: "Image Path" and "image_path" are one name.
_PATHS = (
    "path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "img", "imgpath", "url", "imageurl",
)  # fmt: skip
_GROUPS = (GROUP, "subject", "patient", "person", "video")
_USUAL = {
    "path": _PATHS,
    "label": ("label", "class", "category", "target", "labelname", "classname"),
    "split": ("split", "set", "subset", "fold"),
    "weight": ("weight", "sampleweight"),
    GROUP: (*_GROUPS, *(f"{name}id" for name in _GROUPS)),
}
_SHOWN = {
    "path": "path, file, filename, image or url",
    "label": "label, class, category or target",
}


@dataclass(frozen=True)
class Roles:
    """The column of each role; None: there is none.

    Attributes:
        groups: every column that may tell groups: none, one, or several between which the person must choose.
    """

    path: str
    label: str
    split: str | None
    weight: str | None
    groups: tuple[str, ...]


def wanted_columns(group_by: str | None) -> Wanted:
    """Tells whether a column may have a role."""
    usual = {name for names in _USUAL.values() for name in names}
    return lambda name: _plain(name) in usual or name == group_by


def find_roles(table: Table, group_by: str | None) -> Roles:
    """Finds the column of each role.

    Args:
        table: a manifest, its columns as :func:`wanted_columns` chose them.
        group_by: the group's column, if the person named one that exists.

    Raises:
        DataError: no path, no label, several columns that could be the same, or two of one name.
    """
    twice = [name for name in table.columns if table.names.count(name) > 1]
    if twice:
        raise DataError(f"{table.file}: two columns are called {quote_names(twice[:1])}; rename one")
    return Roles(
        path=_required(table, "path"),
        label=_required(table, "label"),
        split=_optional(table, "split"),
        weight=_optional(table, "weight"),
        groups=(group_by,) if group_by is not None and group_by in table.columns else _groups(table),
    )


def path_columns(names: Iterable[str]) -> list[str]:
    """Those names of columns that say that images are named there."""
    return [name for name in names if _plain(name) in _PATHS]


def find_path_column(table: Table) -> str:
    """The column that names images, where labels do not matter; errors as :func:`find_roles`."""
    return _required(table, "path")


def _groups(table: Table) -> tuple[str, ...]:
    """A column called group says so itself; else all that may be meant."""
    found = _candidates(table, GROUP)
    named = [name for name in found if _plain(name) == GROUP]
    return tuple(named if len(named) == 1 else found)


def _required(table: Table, role: str) -> str:
    found = _optional(table, role)
    if found is None:
        raise DataError(
            f"{table.file}: no column for the {role}; call one of them {_SHOWN[role]}. "
            f"Its columns: {quote_names(table.names)}{table.remarks}"
        )
    return found


def _optional(table: Table, role: str) -> str | None:
    found = _candidates(table, role)
    if len(found) > 1:
        raise DataError(
            f"{table.file}: {quote_names(found)} could each be the {role}; rename all but one. "
            f"Its columns: {quote_names(table.names)}"
        )
    return found[0] if found else None


def _candidates(table: Table, role: str) -> list[str]:
    return [name for name in table.names if _plain(name) in _USUAL[role] and name in table.columns]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
