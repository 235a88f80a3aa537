from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.workflows.class_names import read_class_names

names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)


def write(folder: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "names").write_bytes(text.encode())
    return folder / "names"


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndog\nfox\n",
        "\ufeffcat\r\n  dog \r\n\r\nfox",
        ["cat", "dog", "fox"],
        {"0": "cat", "2": "fox", "1": "dog"},
        {"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "fox"]},
        [["n1", "cat"], "dog", "fox"],
    ],
)
def test_names_are_read_from_lines_and_json(tmp_path: Path, content: Any) -> None:
    assert read_class_names(write(tmp_path, content), 3) == ("cat", "dog", "fox")


def test_names_that_occur_twice_are_told_apart_by_their_identifiers(tmp_path: Path) -> None:
    content = {"0": ["n02012849", "crane"], "1": ["n03126707", "crane"], "2": ["n1", "cat"]}
    assert read_class_names(write(tmp_path, content), 3) == ("crane (n02012849)", "crane (n03126707)", "cat")


@given(st.lists(names, min_size=1, max_size=20, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_list_of_names_comes_back(tmp_path: Path, given_names: list[str]) -> None:
    assert read_class_names(write(tmp_path, given_names), len(given_names)) == tuple(given_names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\ndog", "2 class names, but the classifier has 3 outputs"),
        ("", "0 class names, but"),
        ("cat\ndog\ncat", "'cat' stands there more than once"),
        ('["cat", ', "begins like JSON but is none"),
        ('{"0": "cat", "1": "dog", "3": "fox"}', "its keys are not the numbers 0 to 2"),
        ('["cat", "dog", 3]', "3 is no class name; expected a list"),
        ('["cat", "dog", ["a", "b", "c"]]', "is no class name"),
        ("[" * 100_000, "begins like JSON but is none"),
    ],
)
def test_files_that_hold_something_else_are_explained(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_class_names(write(tmp_path, content), 3)


def test_unreadable_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_class_names(tmp_path / "none.txt", 3)
    (tmp_path / "image").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        read_class_names(tmp_path / "image", 3)
