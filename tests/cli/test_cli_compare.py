from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
QUICK = ("--seconds", "0", "--threads", "1")


@pytest.fixture
def other(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "other"))


def test_json_has_its_fields_and_standard_output_to_itself(cli: Cli, tiny_run: Path, other: Path) -> None:
    answer = cli("compare", tiny_run, other, "--json", *QUICK)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert list(found) == [
        "data", "split", "num_images", "classes", "threads", "machine", "models", "pairs", "sentence", "notes",
        "disagreements",
    ]  # fmt: skip
    assert list(found["pairs"][0]) == [
        "first", "second", "difference", "interval", "only_first", "only_second", "disagreements", "p", "p_corrected",
        "real",
    ]  # fmt: skip
    assert [model["latency_ms"] for model in found["models"]] == [None, None]


def test_csv_has_a_row_a_model(cli: Cli, tiny_run: Path, other: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("compare", tiny_run, other, "--csv", *QUICK).out)))
    assert [row["name"] for row in rows] == ["tiny", "other"]
    assert [float(row["accuracy"]) for row in rows] == [1.0, 1.0]


def test_people_get_a_table_the_pairs_and_one_sentence(
    cli: Cli, tiny_run: Path, other: Path, color_folder: Path
) -> None:
    out = other.parent / "page"
    answer = cli("compare", tiny_run, other, color_folder, "--split", "val", "--out", out, "--lang", "zh", *QUICK)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith(f"{color_folder}, val: 12 images; ")
    assert lines[2].split()[:3] == ["model", "engine", "accuracy"]
    assert "other - tiny: +0.00 points" in answer.out
    assert lines[-3:] == [
        "tiny and other name every image alike; tiny has 1x the size.", "", f"page  {out}/compare.html"
    ]  # fmt: skip
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "tiny 与 other 对每张图片的回答都相同；tiny 的大小是对方的 1 倍。" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{run}",), "at least two models"),
        (("{run}", "nowhere"), "no such model file or run directory; runs are listed by: featherlight runs"),
        (("{run}", "{other}", "nowhere"), "no data at 'nowhere'"),
        (("{run}", "{other}", "--engine", "abacus"), "abacus"),
        (("{run}", "{other}", "--json", "--csv"), "one of the two"),
    ],
)
def test_mistakes_are_told_in_a_line(
    cli: Cli, tiny_run: Path, other: Path, arguments: tuple[str, ...], told: str
) -> None:
    answer = cli("compare", *(text.format(run=tiny_run, other=other) for text in arguments))
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert len(answer.err.strip().splitlines()) <= 2
