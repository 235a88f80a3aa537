from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featherlight import train
from featherlight.sources import open_source
from featherlight.workflows.training_images import load_training_images

SHORT = ("--epochs", "1", "--set", "input_size=16", "--set", "batch_size=8")


@pytest.fixture
def uneven(color_folder: Path, tmp_path: Path) -> Path:
    """12 blue, 12 green and 3 red images to train on."""
    shutil.copytree(color_folder, tmp_path / "data")
    for number in range(3, 12):
        (tmp_path / "data/train/red" / f"{number:02}.png").unlink()
    return tmp_path / "data"


def test_class_weights_are_shown_and_kept(cli: Callable[..., Any], uneven: Path) -> None:
    answer = cli("train", uneven, "--out", uneven.parent / "run", *SHORT, "--balance", "weights")
    assert answer.code == 0
    assert "class weights: blue 0.75, green 0.75, red 3" in answer.err
    assert 'balance = "weights"' in (uneven.parent / "run" / "recipe.toml").read_text()


def test_a_sampler_shows_as_many_images_as_there_are(cli: Callable[..., Any], uneven: Path) -> None:
    run = train(uneven, out=uneven.parent / "run", epochs=2, input_size=16, batch_size=8, balance="sampler")
    assert run.metrics["images_seen"] == 2 * 27


@pytest.mark.parametrize("balance", ["weights", "sampler"])
def test_balance_finds_the_small_class(uneven: Path, balance: str) -> None:
    settings = {"model": "mobilenet_v1_x0_25", "epochs": 40, "input_size": 32, "batch_size": 9}
    run = train(uneven, out=uneven.parent / balance, balance=balance, **settings)
    assert run.metrics["macro_recall"] == 1.0


def test_weights_of_a_manifest_reach_the_loss(color_folder: Path, tmp_path: Path) -> None:
    """Half of the labels are wrong, with next to no weight: the network learns the right ones."""
    rows = []
    for path in sorted(color_folder.rglob("*.png")):
        split, label = path.parts[-3], path.parts[-2]
        rows.append([str(path), label, split, 1.0])
    others = {"blue": "green", "green": "red", "red": "blue"}
    rows += [[path, others[label], split, 1e-4] for path, label, split, _ in rows if split == "train"]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split", "weight"], *rows])
    run = train(tmp_path / "list.csv", out=tmp_path / "run", epochs=20, input_size=16, batch_size=8, allow_leaks=True)
    assert run.metrics["top1"] == 1.0


def test_weights_average_to_one_so_that_the_rate_keeps_its_meaning(color_folder: Path, tmp_path: Path) -> None:
    from featherlight.training.recipe import Recipe
    from featherlight.workflows.train import preprocessing_of
    from featherlight.workflows.training_images import augmentation_of

    source = open_source(color_folder)
    split = source.splits["train"]
    object.__setattr__(split, "weights", np.linspace(1, 9, len(split), dtype=np.float32))
    recipe = Recipe(str(color_folder), input_size=16, crop="none", batch_size=6)
    batches = load_training_images(split, preprocessing_of(recipe), augmentation_of(recipe, 3), recipe)
    weights = torch.cat([batch.weights for batch in batches.epoch(0) if batch.weights is not None])
    assert len(weights) == len(split)
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert (weights.max() / weights.min()).item() == pytest.approx(9, rel=1e-5)
