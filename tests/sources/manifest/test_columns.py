from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.errors import DataError
from featherlight.sources.manifest.columns import Roles, find_roles, wanted_columns
from featherlight.sources.manifest.table import Table

FILE = Path("m.csv")


def roles(*names: str, group_by: str | None = None) -> Roles:
    wanted = wanted_columns(group_by)
    return find_roles(Table(FILE, names, {name: [] for name in names if wanted(name)}), group_by)


def refusal(*names: str) -> str:
    with pytest.raises(DataError) as error:
        roles(*names)
    return str(error.value)


@pytest.mark.parametrize(
    "path", ["path", "FILE", "filename", "FilePath", "image", "image_path", "Image Path", "url", "img"]
)
@pytest.mark.parametrize("label", ["label", "Class", "category", "TARGET", "class_name"])
def test_usual_names_are_known(path: str, label: str) -> None:
    assert roles("id", label, path, "width") == Roles(path, label, None, None, ())


@pytest.mark.parametrize("split", ["split", "Set", "subset", "fold"])
@pytest.mark.parametrize("weight", ["weight", "sample_weight"])
@pytest.mark.parametrize("group", ["group", "subject", "patient_id", "Person", "video-id"])
def test_optional_columns_are_known(split: str, weight: str, group: str) -> None:
    assert roles("path", "label", split, weight, group) == Roles("path", "label", split, weight, (group,))


def test_missing_column_lists_what_there_is() -> None:
    assert refusal("name", "species") == (
        "m.csv: no column for the path; call one of them path, file, filename, image or url. "
        "Its columns: 'name', 'species'"
    )
    assert refusal("path", "species") == (
        "m.csv: no column for the label; call one of them label, class, category or target. "
        "Its columns: 'path', 'species'"
    )


@pytest.mark.parametrize(("names", "role"), [(("file", "url", "label"), "path"), (("path", "label", "class"), "label")])
def test_two_columns_for_one_role_are_refused(names: tuple[str, ...], role: str) -> None:
    found = refusal(*names)
    assert f"could each be the {role}; rename all but one. Its columns: {', '.join(map(repr, names))}" in found


def test_the_same_name_twice_is_refused_where_it_counts() -> None:
    assert refusal("path", "label", "label") == "m.csv: two columns are called 'label'; rename one"
    with pytest.raises(DataError, match="two columns are called 'camera'"):
        roles("path", "label", "camera", "camera", group_by="camera")
    assert roles("path", "label", "camera", "camera").groups == ()


def test_long_lists_of_columns_are_cut() -> None:
    found = refusal(*(f"column {k:03}" for k in range(1000)), "x" * 9999)
    assert found.endswith("'column 018', 'column 019' and 981 more")


def test_column_called_group_comes_before_others() -> None:
    assert roles("path", "label", "patient", "group", "video").groups == ("group",)
    assert roles("path", "label", "patient", "video").groups == ("patient", "video")


def test_named_column_is_the_group() -> None:
    assert roles("path", "label", "patient", "group", "camera", group_by="camera").groups == ("camera",)
    assert roles("path", "label", "group", group_by="no column").groups == ("group",)
