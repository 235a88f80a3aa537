from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.sources.manifest.json_lines import read_json_lines
from featherlight.sources.manifest.table import Table

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.lists(st.integers())
ROWS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=6)


def read(tmp_path: Path, content: str) -> Table:
    file = tmp_path / "m.jsonl"
    file.write_text(content, encoding="utf-8")
    return read_json_lines(file, lambda _: True)


@settings(deadline=None)
@given(ROWS, st.booleans())
def test_what_json_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    content = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    found = read(tmp_path_factory.mktemp("json"), content)
    assert set(found.names) == {name for row in rows for name in row}
    for name, column in found.columns.items():
        assert list(column) == [row.get(name) for row in rows]


def test_rows_are_found_by_line(tmp_path: Path) -> None:
    found = read(tmp_path, '\n{"path": "a"}\n  \n{"path": "b", "label": 1}\n')
    assert found.columns == {"path": ["a", "b"], "label": [None, 1]}
    assert found.place(1) == f"{tmp_path}/m.jsonl, line 4"


def test_nan_is_a_number_here(tmp_path: Path) -> None:
    assert math.isnan(read(tmp_path, '{"label": NaN}\n').columns["label"][0])


def test_surrogates_must_be_pairs(tmp_path: Path) -> None:
    assert read(tmp_path, '{"label": "\\ud83d\\ude00"}').columns["label"] == ["\U0001f600"]
    with pytest.raises(DataError, match="line 2: half of a surrogate pair"):
        read(tmp_path, '{"label": "a"}\n{"label": "\\ud83d"}\n')


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"path": "a.jpg"', "no JSON"),
        ("path,label", "no JSON"),
        ('[{"path": "a.jpg"},', "no JSON"),
        ('{"label": ' + "9" * 5000 + "}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('["a.jpg", "cat"]', "a JSON list, not an object; write one object a line"),
        ("null", "a JSON NoneType, not an object"),
    ],
)
def test_line_that_is_no_object_is_named(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, f'{{"path": "x"}}\n{line}\n')
    assert str(error.value).startswith(f"{tmp_path}/m.jsonl, line 2: {problem}")
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m\.jsonl: empty; expected a JSON object a line"):
        read(tmp_path, "\n\n")
