"""What a run says and leaves behind when something around it fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featherlight.model_file import read_tensors
from featherlight.training.checkpoint import read_progress
from featherlight.workflows import train as workflow

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--model", "mobilenet_v1_x0_25", "--epochs", 3, "--device", "cpu", "--set", "batch_size=12", "--set",
    "input_size=16",
)  # fmt: skip


def error_line(answer: object) -> str:
    assert answer.code == 2, answer.err  # type: ignore[attr-defined]
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]  # type: ignore[attr-defined]
    assert "Traceback" not in answer.err  # type: ignore[attr-defined]
    return line


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    cli, color_folder, tmp_path, disk_with_room_for
):
    run = tmp_path / "run"
    with disk_with_room_for(200_000):  # a checkpoint is larger
        line = error_line(cli("train", color_folder, *OPTIONS, "--out", run))
    assert "cannot write" in line
    assert f"Nothing is saved yet; when this is mended, go on with: featherlight train --resume {run}" in line
    assert [path.name for path in (run / "last").iterdir()] == []
    assert cli("train", "--resume", run).code == 0


def test_a_disk_that_fills_up_later_leaves_the_last_checkpoint_whole(cli, color_folder, tmp_path, disk_with_room_for):
    whole, run = tmp_path / "whole", tmp_path / "run"
    cli("train", color_folder, *OPTIONS, "--out", whole)
    shutil.copytree(whole, run)
    with disk_with_room_for(200_000):
        line = error_line(cli("train", "--resume", run, "--epochs", 5))
    assert "The last checkpoint is whole; when this is mended, go on with: " in line
    assert read_progress(run).epoch == 3
    assert cli("train", "--resume", run, "--epochs", 5).code == 0
    assert cli("train", "--resume", whole, "--epochs", 5).code == 0
    a, b = (read_tensors(path / "model.safetensors") for path in (whole, run))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_images_that_vanish_after_training_cost_only_the_evaluation(cli, color_folder, tmp_path, monkeypatch):
    data, run, save = tmp_path / "data", tmp_path / "run", workflow.save_model
    shutil.copytree(color_folder, data)

    def save_and_vanish(*arguments: object, **options: object) -> Path:
        path = save(*arguments, **options)
        shutil.rmtree(data)
        return path

    monkeypatch.setattr(workflow, "save_model", save_and_vanish)
    line = error_line(cli("train", data, *OPTIONS, "--out", run))
    assert f"The model is trained and saved, {run / 'model.safetensors'}; only its evaluation is missing: " in line
    assert cli("predict", run, color_folder / "test").code == 0


def test_no_room_for_the_model_says_that_training_is_saved(cli, color_folder, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def no_room(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(run / "model.safetensors"))

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "save_model", no_room)
        line = error_line(cli("train", color_folder, *OPTIONS, "--out", run))
    assert "model.safetensors: No space left on device. Training is finished and all is saved; " in line
    assert cli("train", "--resume", run).code == 0


@pytest.mark.slow
def test_random_kills_lose_at_most_the_step_since_the_last_checkpoint():
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "kills.py"),
        "--kills",
        "5",
        "--failures",
        "1",
        "--read-only",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"kills": 5' in done.stdout
