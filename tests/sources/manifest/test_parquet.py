from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import DataError, MissingExtraError
from featherlight.sources.manifest import parquet as module
from featherlight.sources.manifest.parquet import read_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COLUMNS = {
    "path": (pa.string(), TEXTS),
    "label": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "split": (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    "weight": (pa.float64(), st.floats(allow_nan=False)),
}


@settings(deadline=None)
@given(st.lists(st.tuples(*(st.none() | values for _, values in COLUMNS.values())), max_size=6))
def test_what_pyarrow_writes_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    file = tmp_path_factory.mktemp("parquet") / "m.parquet"
    columns = {
        name: pa.array([row[position] for row in rows], kind)
        for position, (name, (kind, _)) in enumerate(COLUMNS.items())
    }
    pq.write_table(pa.table(columns), file)
    found = read_parquet(file, lambda _: True)
    assert found.names == tuple(COLUMNS)
    assert list(zip(*found.columns.values(), strict=True)) == rows


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"], "notes": ["x" * 1000], "label": [1]}), tmp_path / "m.parquet")
    found = read_parquet(tmp_path / "m.parquet", lambda name: name != "notes")
    assert found.names == ("path", "notes", "label")
    assert found.columns == {"path": ["a"], "label": [1]}
    assert found.place(0) == f"{tmp_path}/m.parquet, row 1"


def test_images_within_the_file_are_not_read(tmp_path: Path) -> None:
    images = [{"bytes": b"x", "path": "a.jpg"}]
    pq.write_table(pa.table({"image": images, "file": [b"y"], "label": [1]}), tmp_path / "m.parquet")
    found = read_parquet(tmp_path / "m.parquet", lambda _: True)
    assert found.columns == {"label": [1]}
    assert found.remarks.startswith("; 'image' holds struct<bytes: binary, path: string>, no texts or numbers; 'file'")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"path,label\na,b\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_file_that_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.parquet: no Parquet file, or damaged"):
        read_parquet(tmp_path / "m.parquet", lambda _: True)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_file_is_told(tmp_path: Path, kept: float) -> None:
    pq.write_table(pa.table({"path": [f"{k}.jpg" for k in range(999)]}), tmp_path / "m.parquet")
    content = (tmp_path / "m.parquet").read_bytes()
    (tmp_path / "m.parquet").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"m\.parquet: no Parquet file, or damaged"):
        read_parquet(tmp_path / "m.parquet", lambda _: True)


def test_text_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"path": broken}), tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"m\.parquet: no Parquet file, or damaged"):
        read_parquet(tmp_path / "m.parquet", lambda _: True)


def test_absurd_number_of_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 9)
    pq.write_table(pa.table({"path": ["a.jpg"] * 10}), tmp_path / "m.parquet")
    with pytest.raises(DataError, match="10 rows; at most 9 are read"):
        read_parquet(tmp_path / "m.parquet", lambda _: True)


def test_missing_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'm.parquet needs pyarrow.*pip install "featherlight\[data\]"'):
        read_parquet(tmp_path / "m.parquet", lambda _: True)
