from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from featherlight.errors import UsageError
from featherlight.workflows.runs import find_runs, list_runs


@pytest.fixture
def runs(tmp_path: Path, tiny_run: Path) -> Path:
    """A folder with a copy of the run: ``runs/a``."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "a")
    return tmp_path / "runs"


def copy(runs: Path, name: str) -> Path:
    return Path(shutil.copytree(runs / "a", runs / name))


def change(run: Path, **fields: Any) -> None:
    path = run / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_finished_run_is_listed_with_what_it_reached_and_cost(runs: Path, color_folder: Path) -> None:
    (row,) = list_runs(runs)
    assert (row.path, row.status, row.problem) == (str(runs / "a"), "finished", "")
    assert (row.network, row.data, row.input_size) == ("shufflenet_v2_x0_5", str(color_folder), 16)
    assert (row.accuracy, row.split, row.epochs) == (1.0, "test", 30)
    assert row.size_bytes == (runs / "a" / "model.safetensors").stat().st_size
    assert row.time_s is not None
    assert row.time_s > 0


def test_runs_are_found_below_and_not_within_each_other(runs: Path) -> None:
    copy(runs, "deep/er/b")
    copy(runs, "a/inner")
    copy(runs, ".hidden")
    assert [path.relative_to(runs).as_posix() for path in find_runs(runs)] == ["a", "deep/er/b"]
    assert [row.path for row in list_runs(runs / "a")] == [str(runs / "a")]


def test_each_order_puts_what_is_not_known_last(runs: Path) -> None:
    small, low = copy(runs, "small"), copy(runs, "low")
    change(low, top1=0.25)
    change(small, top1=0.5)
    (copy(runs, "none") / "recipe.toml").write_text("nothing")
    for number, name in enumerate(("none", "low", "small", "a")):
        for file in (runs / name).iterdir():
            os.utime(file, (1e9 + number, 1e9 + number))
    os.utime(runs / "a" / "last" / "checkpoint.safetensors", (1e9, 1e9))

    def names(sort: str) -> list[str]:
        return [Path(row.path).name for row in list_runs(runs, sort=sort)]

    assert names("accuracy") == ["a", "small", "low", "none"]
    assert names("time")[-1] == names("size")[-1] == "none"


def test_latest_run_comes_first(runs: Path) -> None:
    old = copy(runs, "old")
    for file in old.rglob("*"):
        os.utime(file, (1e9, 1e9))
    rows = list_runs(runs)
    assert [Path(row.path).name for row in rows] == ["a", "old"]
    assert rows[1].date == "2001-09-09T01:46:40+00:00"


def test_unfinished_run_says_how_far_it_came_and_how_to_go_on(runs: Path) -> None:
    run = runs / "a"
    (run / "model.safetensors").unlink()
    rows = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*rows[:3], rows[3][:10]]))
    (row,) = list_runs(runs)
    assert (row.status, row.split, row.epochs, row.size_bytes) == ("unfinished", "val", 3, None)
    assert row.accuracy == json.loads(rows[2])["val_top1"]
    assert row.problem == f"after epoch 3 of 30; go on with: featherlight train --resume {run}"


def test_run_that_is_trained_for_longer_is_unfinished_again(runs: Path) -> None:
    recipe = runs / "a" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("\nepochs = 30", "\nepochs = 60"))
    (row,) = list_runs(runs)
    assert row.status == "unfinished"
    assert "after epoch 30 of 60" in row.problem


def test_run_whose_evaluation_is_missing_is_unfinished(runs: Path) -> None:
    (runs / "a" / "evaluation.json").unlink()
    (row,) = list_runs(runs)
    assert (row.status, row.split) == ("unfinished", "val")
    assert "its evaluation is missing" in row.problem


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("recipe.toml", b"\xff\xfe", "recipe.toml"),
        ("recipe.toml", b"data = 'x'\nwings = 2", "wings"),
        ("recipe.toml", None, "no recipe.toml"),
        ("model.safetensors", b"", "model.safetensors"),
        ("model.safetensors", b"cut", "model.safetensors"),
        ("evaluation.json", b"{", "evaluation.json"),
        ("metrics.jsonl", b"\xff\xff\n", "metrics.jsonl"),
        ("metrics.jsonl", b"3\n", "metrics.jsonl"),
        ("metrics.jsonl", b'{"epoch": 1}\n', "metrics.jsonl"),
        ("metrics.jsonl", b'{"epoch": 1, "val_top1": null, "seconds": 1}\n', "metrics.jsonl"),
    ],
)
def test_damaged_run_is_listed_with_what_is_wrong(runs: Path, file: str, content: bytes | None, told: str) -> None:
    path = runs / "a" / file
    path.unlink() if content is None else path.write_bytes(content)
    (row,) = list_runs(runs)
    assert row.status == "damaged"
    assert told in row.problem


def test_model_file_that_was_cut_off_is_damaged(runs: Path) -> None:
    path = runs / "a" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    (row,) = list_runs(runs)
    assert row.status == "damaged"


def test_missing_folder_and_unknown_order_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="a first run makes it: featherlight train"):
        list_runs()
    with pytest.raises(UsageError, match="no such folder"):
        list_runs("nowhere")
    with pytest.raises(UsageError, match="date, accuracy, size, time"):
        list_runs(tmp_path, sort="beauty")
    assert list_runs(tmp_path) == []


def test_tensorboard_sees_the_scalars_of_all_runs(runs: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext

    copy(runs, "b")
    board = EventMultiplexer().AddRunsFromDirectory(str(runs))
    board.Reload()
    shown = MultiplexerDataProvider(board, str(runs)).read_scalars(
        RequestContext(), experiment_id="", plugin_name="scalars", downsample=1000
    )
    assert sorted(shown) == ["a", "b"]
    assert set(shown["a"]) == {"learning_rate", "train_loss", "val_loss", "val_top1", "images_per_s"}
    rows = [json.loads(line) for line in (runs / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [point.step for point in shown["b"]["val_loss"]] == [row["step"] for row in rows]
    seen = [point.value for point in shown["b"]["val_loss"]]
    assert seen == pytest.approx([row["val_loss"] for row in rows], rel=1e-6)
