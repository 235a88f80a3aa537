from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featherlight.training.recipe import read_recipe
from featherlight.training.recipes.catalogue import list_recipes

Cli = Callable[..., Any]


def test_the_list_names_every_recipe_and_whose_choice_each_field_is(cli: Cli) -> None:
    answer = cli("train", "--list-recipes")
    assert (answer.code, answer.err) == (0, "")
    head, *lines = answer.out.splitlines()
    assert head.split() == ["name", "model", "epochs"]
    assert [line.split()[0] for line in lines[: len(list_recipes())]] == list_recipes()
    block = answer.out.partition("\narticle-keras-shufflenet-v2\n")[2].partition("\n\n")[0].splitlines()
    words = {line.split()[0]: line for line in block}
    assert "dropout=0.5" in words["stated"]
    assert "initialisation=keras" in words["implied"]
    corrected = answer.out.partition("\narticle-ascend-mobilenet-v1-corrected\n")[2].partition("\n\n")[0]
    assert "ours    loss=cross-entropy" in corrected
    assert max(map(len, lines)) <= 120


def test_a_recipe_is_chosen_and_changed_on_the_command_line(cli: Cli, color_folder: Path, tmp_path: Path) -> None:
    answer = cli(
        "train", color_folder, "--recipe", "article-ascend-mobilenet-v1", "--model", "mobilenet_v1_x0_25",
        "--epochs", "1", "--set", "batch_size=8", "--set", "mixup=0.2", "--out", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    recipe = read_recipe(tmp_path / "run")
    assert (recipe.recipe, recipe.model) == ("article-ascend-mobilenet-v1", "mobilenet_v1_x0_25")
    assert (recipe.epochs, recipe.schedule_epochs, recipe.batch_size, recipe.mixup) == (1, 150, 8, 0.2)
    assert (recipe.loss, recipe.cycle_momentum, recipe.learning_rate) == ("double-softmax", True, 0.1)
    assert "--recipe article-ascend-mobilenet-v1" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "megvi-shufflenet-v1"], "unknown recipe 'megvi-shufflenet-v1'; did you mean megvii-"),
        (["--set", "recipe=none"], "unknown recipe 'none'; there are: default, article-mindspore-shufflenet-v1"),
        (["--set", "schedule_epochs=2", "--epochs", "3"], "recipe: schedule_epochs is 2, but the run has 3 epochs"),
        (["--set", "schedule_epochs=9", "--time", "9s"], "recipe: schedule_epochs goes with epochs; "),
        (["--set", "cycle_momentum=on", "--set", "schedule=cosine"], "recipe: cycle_momentum goes with schedule=one-"),
        (["--set", "train_size=4"], "recipe: train_size is 4; 16 to 4096, or 0 for input_size, is expected"),
        (["--set", "mean=0.5,0.5"], "recipe: mean and std need a number for each of 3 channels, or none"),
        (["--set", "std=0,0,0"], "preprocessing: std must be finite numbers above 0"),
        (["--set", "norm_momentum=2"], "recipe: norm_momentum is 2.0; 0 to 1 is expected"),
        (["--set", "initialisation=zeros"], "recipe field initialisation is 'zeros'; it can be: network, pytorch"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    cli: Cli, color_folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = cli("train", color_folder, "--out", tmp_path / "run", *arguments)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()
