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


@pytest.fixture
def runs(tmp_path: Path, tiny_run: Path) -> Path:
    shutil.copytree(tiny_run, tmp_path / "runs" / "a")
    unfinished = Path(shutil.copytree(tiny_run, tmp_path / "runs" / "b"))
    (unfinished / "model.safetensors").unlink()
    return tmp_path / "runs"


def test_people_get_a_table_and_what_is_not_finished(cli: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    answer = cli("runs", "--sort", "accuracy")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split()[:2] == ["run", "accuracy"]
    assert {line.split()[0] for line in lines[1:3]} == {"runs/a", "runs/b"}
    assert "2 runs, not finished: 1" in lines
    assert lines[-1].startswith("unfinished  runs/b: after epoch 30 of 30; go on with")


def test_json_and_csv_have_the_same_rows(cli: Cli, runs: Path) -> None:
    rows = json.loads(cli("runs", runs, "--json").out)
    assert [row["status"] for row in sorted(rows, key=lambda row: row["path"])] == ["finished", "unfinished"]
    assert list(rows[0]) == [
        "path", "status", "network", "data", "accuracy", "split", "size_bytes", "time_s", "epochs", "input_size",
        "date", "problem",
    ]  # fmt: skip
    table = list(csv.DictReader(io.StringIO(cli("runs", runs, "--csv").out)))
    assert [row["path"] for row in table] == [row["path"] for row in rows]


def test_folder_without_runs_is_no_error(cli: Cli, tmp_path: Path) -> None:
    assert cli("runs", tmp_path).out == f"no runs in {tmp_path}\n"
    assert json.loads(cli("runs", tmp_path, "--json").out) == []
    assert cli("runs", tmp_path, "--csv").out == ""


def test_missing_folder_is_told(cli: Cli, tmp_path: Path) -> None:
    answer = cli("runs", tmp_path / "none")
    assert (answer.code, answer.out) == (2, "")
    assert "no such folder" in answer.err
