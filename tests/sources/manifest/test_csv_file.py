from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.sources.manifest.csv_file import DELIMITERS, read_csv
from featherlight.sources.manifest.table import Table

# A lone carriage return is left out: csv writes it without quotes before Python 3.13.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
NAMES = st.lists(st.text("abcXY _-09é", min_size=1, max_size=6), min_size=2, max_size=4, unique=True)


def read(tmp_path: Path, content: str | bytes) -> Table:
    file = tmp_path / "m.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(file, lambda _: True)


def refusal(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    return str(error.value).removeprefix(str(tmp_path))


@settings(deadline=None)
@given(
    NAMES.flatmap(lambda names: st.lists(st.tuples(*[CELLS] * len(names)), max_size=6).map(lambda rows: (names, rows))),
    st.sampled_from(DELIMITERS),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_csv_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[list[str], list[tuple[str, ...]]],
    delimiter: str,
    line_end: str,
    has_mark: bool,
) -> None:
    names, rows = table
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows([names, *rows])
    found = read(tmp_path_factory.mktemp("csv"), text.getvalue().encode("utf-8-sig" if has_mark else "utf-8"))
    assert found.names == tuple(names)
    assert list(zip(*found.columns.values(), strict=True)) == rows


def test_only_wanted_columns_are_kept(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("a,b,c\n1,2,3\n")
    found = read_csv(tmp_path / "m.csv", lambda name: name in "ac")
    assert found.names == ("a", "b", "c")
    assert found.columns == {"a": ["1"], "c": ["3"]}


def test_of_two_columns_of_one_name_the_first_is_kept(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b,a\n1,2,3\n4,5,6\n")
    assert found.names == ("a", "b", "a")
    assert found.columns == {"a": ["1", "4"], "b": ["2", "5"]}


def test_cells_stay_the_texts_they_are(tmp_path: Path) -> None:
    columns = read(tmp_path, 'path,label\n" a.jpg",007\nb.jpg,NA\n5" c.jpg,1e5\n').columns
    assert columns == {"path": [" a.jpg", "b.jpg", '5" c.jpg'], "label": ["007", "NA", "1e5"]}


def test_more_rows_than_a_block(tmp_path: Path) -> None:
    found = read(tmp_path, "path,label\n" + "".join(f"{k}.jpg,{k % 7}\n" for k in range(10_000)))
    assert list(found.columns["path"]) == [f"{k}.jpg" for k in range(10_000)]


def test_line_ends_within_quotes_belong_to_the_cell(tmp_path: Path) -> None:
    assert list(read(tmp_path, 'path,label\r\n"a\r\nb","c\rd"\r\n').columns["path"]) == ["a\r\nb"]


def test_blank_lines_are_passed_over_and_lines_counted(tmp_path: Path) -> None:
    found = read(tmp_path, 'path,label\n\na,1\n\n"b\nb",2\n\n\nc,3\n')
    assert list(found.columns["path"]) == ["a", "b\nb", "c"]
    assert [found.place(row).rpartition(", ")[2] for row in range(3)] == ["line 3", "line 6", "line 9"]


def test_file_without_a_byte_or_a_name(tmp_path: Path) -> None:
    expected = "/m.csv: empty; the first line must name the columns, for example: path,label"
    assert refusal(tmp_path, "") == expected
    assert refusal(tmp_path, "\n\r\n") == expected
    assert refusal(tmp_path, b"\xef\xbb\xbf") == expected


def test_row_of_another_width_is_named(tmp_path: Path) -> None:
    lines = ["path,label", *(f"{k}.jpg,cat" for k in range(5000)), "x.jpg,cat,"]
    expected = "/m.csv, line 5002: 3 cells, but the first line names 2 columns"
    assert refusal(tmp_path, "\n".join(lines)) == expected
    assert refusal(tmp_path, "path,label\na.jpg\n") == "/m.csv, line 2: 1 cells, but the first line names 2 columns"


@pytest.mark.parametrize(
    "content", ['path,label\n"a.jpg,cat\nb.jpg,dog\n', 'path,label\n"a"b,cat\n', "path,label\ra,b\r"]
)
def test_quote_or_line_end_that_does_not_fit(tmp_path: Path, content: str) -> None:
    assert "is a quote not closed, or not doubled within a cell?" in refusal(tmp_path, content)


def test_cell_that_does_not_end_is_refused(tmp_path: Path) -> None:
    assert "line 2: field larger than field limit" in refusal(tmp_path, f"path,label\n{'x' * 200_000},cat\n")


def test_line_that_does_not_end_is_refused(tmp_path: Path) -> None:
    assert "line 2: longer than 1,048,576 bytes" in refusal(tmp_path, f"path,label\n{'x,' * 600_000}\n")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("path,label\na.jpg,café\n".encode("latin-1"), "line 2: the byte 0xe9"),
        ("path\tlabel\n".encode("utf-16"), "line 1: UTF-16"),
        (b"\x00\xff" * 50, "line 1: the byte 0xff"),
    ],
)
def test_other_encodings_are_told(tmp_path: Path, content: bytes, found: str) -> None:
    assert refusal(tmp_path, content) == f"/m.csv, {found} where UTF-8 is expected; save the file as UTF-8"
