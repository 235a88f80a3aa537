"""Whatever lies in a file that is called a manifest: it is opened, or refused with a message."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import FeatherlightError
from featherlight.sources import open_source
from featherlight.sources.manifest import MANIFEST_SUFFIXES

ROWS = [(f"img/{k}.jpg", ("cat", "dög")[k % 2], ("train", "val")[k % 3 == 0], 1 + k / 7) for k in range(12)]
NAMES = ("path", "label", "split", "weight")


def contents() -> dict[str, bytes]:
    table = ",".join(NAMES) + "\n" + "".join(f'"{p}",{c},{s},{w}\n' for p, c, s, w in ROWS)
    lines = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS)
    found = {".csv": table, ".jsonl": lines, ".txt": "".join(f"{path} {k % 2}\n" for k, (path, *_) in enumerate(ROWS))}
    encoded = {suffix: text.encode() for suffix, text in found.items()}
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))), file)
    return {**encoded, ".parquet": file.getvalue()}


def opens_or_refuses(file: Path) -> None:
    refusal = ""
    try:
        source = open_source(file, as_it_is=True)
        splits, classes = source.splits, source.classes
    except FeatherlightError as error:
        refusal, splits, classes = str(error), {}, ()
    assert refusal.startswith(str(file)) if not splits else not refusal
    assert len(refusal) < len(str(file)) + 600
    for split in splits.values():
        assert len(split.labels) == len(split) > 0
        assert split.labels.max() < len(classes)


@settings(deadline=None)
@given(st.sampled_from(MANIFEST_SUFFIXES), st.binary(max_size=60))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes) -> None:
    file = tmp_path_factory.mktemp("hostile") / f"m{suffix}"
    file.write_bytes(content)
    opens_or_refuses(file)


EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([".csv", ".jsonl", ".txt", ".parquet"]), EDITS, st.floats(0, 1))
def test_damaged_manifests(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, edits: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(contents()[suffix])
    for where, value in edits:
        content[int(where * len(content))] = value
    file = tmp_path_factory.mktemp("hostile") / f"m{suffix}"
    file.write_bytes(content[: max(len(content) // 2, round(kept * 2 * len(content)))])
    opens_or_refuses(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "path,species\na.jpg,cat\n"),
        ("m.csv", "path,label,split\na.jpg,cat,holdout\n"),
        ("m.csv", 'path,label\n"a.jpg,cat\n'),
        ("m.csv", "path,label\nfile:///etc/passwd,cat\n"),
        ("m.jsonl", '{"path": "a.jpg", "label": NaN}\n'),
        ("m.parquet", "no parquet"),
        ("m.txt", "a.jpg cat\n"),
    ],
)
def test_train_refuses_in_one_line_and_leaves_nothing(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    answer = cli("train", name)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"error: {tmp_path}/{name}")
    assert [file.name for file in tmp_path.iterdir()] == [name]
