from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SHORT = ("--epochs", "1", "--set", "input_size=16", "--set", "batch_size=8")


@pytest.fixture
def data(color_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(color_folder, tmp_path / "data")
    return tmp_path / "data"


def train(cli: Callable[..., Any], data: Path, *options: str) -> Any:
    return cli("train", data, "--out", data.parent / "run", *SHORT, *options)


def test_exact_copies_between_train_and_test_refuse(cli: Callable[..., Any], data: Path) -> None:
    shutil.copy(data / "train/red/00.png", data / "test/red/copied.png")
    answer = train(cli, data)
    assert answer.code == 2
    assert "1 image of test is the same pixels as one of train" in answer.err
    assert "copied.png" in answer.err
    assert "--allow-leaks" in answer.err
    assert not (data.parent / "run").exists()


def test_allow_leaks_goes_on_with_a_warning(cli: Callable[..., Any], data: Path) -> None:
    shutil.copy(data / "train/red/00.png", data / "val/red/copied.png")
    answer = train(cli, data, "--allow-leaks")
    assert answer.code == 0
    assert "warning: 1 image of val is the same pixels as one of train" in answer.err
    assert "allow_leaks = true" in (data.parent / "run" / "recipe.toml").read_text()
    assert cli("train", "--resume", data.parent / "run").code == 0


def test_near_copies_only_warn(cli: Callable[..., Any], data: Path) -> None:
    coarse = np.random.default_rng(5).integers(0, 256, (6, 8, 3), np.uint8)
    scene = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
    scene.save(data / "train/red/scene.png")
    scene.resize((50, 50)).save(data / "test/red/scene.png")
    answer = train(cli, data)
    assert answer.code == 0
    assert "warning: 1 image of test is nearly the same as one of train" in answer.err


def test_groups_torn_apart_by_given_splits_are_named(cli: Callable[..., Any], data: Path) -> None:
    answer = train(cli, data, "--group-by", r"0\d")
    assert answer.code == 0
    assert "warning: 4 groups have images in train and in val, for example 00" in answer.err


def test_groups_stay_together_and_evaluate_finds_the_same_split(cli: Callable[..., Any], data: Path) -> None:
    flat = data.parent / "flat"
    for number, file in enumerate(sorted(data.rglob("*.png"))):
        folder = flat / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / f"person{number % 15:02}_{number}.png")
    run = data.parent / "run"
    answer = cli("train", flat, "--out", run, *SHORT, "--group-by", r"person\d+")
    assert answer.code == 0, answer.err
    saved = json.loads((run / "evaluation.json").read_text())
    again = cli("evaluate", run, "--json")
    assert "has changed" not in again.err
    assert json.loads(again.out)["confusion_matrix"] == saved["confusion_matrix"]
    from featherlight.sources import open_source

    source = open_source(flat, group_by=r"person\d+")
    groups = [set(split.groups or ()) for split in source.splits.values()]
    assert len(set().union(*groups)) == 15 == sum(map(len, groups))


def test_group_by_that_finds_nothing_exits_with_2(cli: Callable[..., Any], data: Path) -> None:
    answer = train(cli, data, "--group-by", "nobody")
    assert answer.code == 2
    assert "found in none of" in answer.err
    assert cli("train", "digits", "--group-by", "x").code == 2
