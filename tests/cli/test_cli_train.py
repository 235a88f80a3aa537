from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]


def test_run_of_a_real_process_can_be_evaluated_and_used(
    cli: Cli, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "featherlight", "train", str(color_folder), "--model", "mobilenet_v1_x0_25"]
    settings = ["--set", "input_size=16", "--set", "batch_size=6", "--epochs", "1", "--seed", "3", "--device", "cpu"]
    trained = subprocess.run([*command, "--out", "my run", *settings], capture_output=True, text=True, check=False)
    assert trained.returncode == 0
    first, *rest = trained.stdout.splitlines()
    assert rest == [
        "model   my run/model.safetensors",
        "report  my run/report.html",
        "next    featherlight predict 'my run' IMAGE",
    ]
    assert "Traceback" not in trained.stderr
    assert "Warning" not in trained.stderr
    assert "epoch   1  train loss" in trained.stderr

    evaluated = json.loads(cli("evaluate", "my run", "--json").out)
    low, high = evaluated["top1_interval"]
    assert first == f"test accuracy {evaluated['top1']:.2%} on 12 images (95 %: {low:.1%} to {high:.1%})"
    stored = json.loads((tmp_path / "my run" / "evaluation.json").read_text())
    assert evaluated["confusion_matrix"] == stored["confusion_matrix"]
    predicted = cli("predict", "my run", color_folder / "test", "--json")
    labels = [json.loads(line)["label"] for line in predicted.out.splitlines()]
    assert [labels.count(name) for name in evaluated["classes"]] == np.sum(stored["confusion_matrix"], axis=0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no data at 'none': the path does not exist, and the known names are digits, cifar10, cifar100"),
        (["DATA", "--model", "resnet50"], "there is no network named 'resnet50'; "),
        (["DATA", "--set", "colour=red"], "unknown recipe field 'colour'; there are: data, model, recipe, "),
        (["DATA", "--set", "batch_size=many"], "recipe field batch_size is 'many'; a whole number is expected"),
        (["DATA", "--set", "batch_size=0"], "recipe: batch_size is 0; 1 to 65536 is expected"),
        (["DATA", "--set", "batch_size=-1"], "recipe: batch_size is -1; 1 to 65536 is expected"),
        (["DATA", "--set", "schedule=linear"], "recipe field schedule is 'linear'; it can be: one-cycle, cosine, step"),
        (["DATA", "--set", "out=x"], "the images and the run directory are not set by --set; write: featherlight"),
        (["DATA", "--seed", "1", "--set", "seed=2"], "seed is given twice, as an option and by --set"),
        (
            ["DATA", "--epochs", "2", "--time", "1m"],
            "recipe: give a number of epochs or a time (time_s), one of the two",
        ),
        (["DATA", "--device", "gpu"], "unknown device 'gpu'; there are: auto, cpu, cuda, mps, npu, xpu"),
        (["DATA", "--out", "taken"], "taken exists and is not empty; choose another --out"),
        (["--resume", "none"], "none: no run directory (there is no recipe.toml in it)"),
        (
            ["DATA", "--resume", "taken"],
            "--resume goes on with the run's own recipe and data; leave out the other options",
        ),
        (["--resume", "taken", "--epochs", "3"], "taken: no run directory"),
        (["--resume", "taken", "--patience", "3"], "--resume goes on with the run's own recipe and data; "),
        (["--resume", "taken", "--set", "flip=no"], "--resume goes on with the run's own recipe and data; "),
    ],
)
def test_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(
    cli: Cli, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    out = [] if {"--out", "--resume"} & set(arguments) else ["--out", "run"]
    answer = cli("train", *(color_folder if argument == "DATA" else argument for argument in arguments), *out)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"error: {message}")
    assert os.listdir(tmp_path) == ["taken"]
    assert os.listdir(tmp_path / "taken") == ["file"]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("15m", 900.0), ("1.5h", 5400.0), (" 2h ", 7200.0)])
def test_durations_are_read(text: str, seconds: float) -> None:
    from featherlight.training.recipe import read_duration

    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "pair"),
    [("a=1", ("a", "1")), ("a = b = c", ("a", "b = c")), ("data=x=y", ("data", "x=y")), ("a=", ("a", ""))],
)
def test_settings_are_split_at_the_first_equals_sign(text: str, pair: tuple[str, str]) -> None:
    from featherlight.cli.options import Setting

    assert Setting().convert(text, None, None) == pair
