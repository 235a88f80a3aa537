from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import featherlight
from featherlight.errors import UsageError
from featherlight.images import IMAGENET_MEAN, Preprocessing
from featherlight.model_file import read_card
from featherlight.sources import open_source
from featherlight.training.defaults import default_recipe
from featherlight.training.recipe import Recipe, read_recipe
from featherlight.training.recipes.catalogue import list_recipes
from featherlight.workflows.extend import extend
from featherlight.workflows.reproduce import facts_of, reproduce_command
from featherlight.workflows.starting_weights import build_network
from featherlight.workflows.train import preprocessing_of, train

TINY = {"input_size": 32, "batch_size": 8, "epochs": 1, "device": "cpu"}
ASCEND = "article-ascend-mobilenet-v1"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (ASCEND, "mobilenet_v1_x0_25"),
        ("article-keras-shufflenet-v2", None),
        ("torchvision-shufflenet-v2", "shufflenet_v2_x0_5"),
        ("torchvision-mobilenet-v3", "mobilenet_v3_small"),
        ("megvii-shufflenet-v1", "shufflenet_v1_g3_x0_5.megvii"),
        ("mindcv-mobilenet-v1", "mobilenet_v1_x0_25.mindcv"),
    ],
)
def test_a_run_by_a_recipe_ends_in_a_model_that_predicts(tmp_path: Path, color_folder: Path, name: str, model: Any):
    run = train(color_folder, model, recipe=name, out=tmp_path / "run", **TINY, train_size=24 if "v2" in name else 0)
    recipe = read_recipe(run.path)
    assert (recipe.recipe, recipe.epochs, recipe.batch_size) == (name, 1, 8)
    (answer,) = featherlight.Predictor(run.path).predict(next(color_folder.rglob("*.png")))
    assert answer.error is None
    assert sum(probability for _, probability in answer.top) == pytest.approx(1.0)
    card = read_card(run.model_path)
    assert card.preprocessing == preprocessing_of(recipe)
    assert card.provenance["recipe"]["recipe"] == name


def test_images_are_scaled_as_the_recipe_says():
    assert preprocessing_of(Recipe("x", mean=(0.5, 0.4, 0.3))).mean == (0.5, 0.4, 0.3)
    assert preprocessing_of(Recipe("x", std=(0.5, 0.4, 0.3))) == Preprocessing(224, std=(0.5, 0.4, 0.3))
    assert preprocessing_of(Recipe("x")).mean == IMAGENET_MEAN
    with pytest.raises(UsageError, match="a number for each of 3 channels"):
        Recipe("x", mean=(0.5,))


def test_first_weights_are_the_recipes_and_not_drawn_over_pretrained_ones():
    own, drawn = (
        build_network(Recipe("x", model="mobilenet_v1_x0_25", initialisation=style), 3, pretrained=False)
        for style in ("network", "keras")
    )
    assert not torch.equal(own.fc.weight, drawn.fc.weight)
    kept = build_network(
        Recipe("x", model="mobilenet_v1_x0_25", initialisation="keras", pretrained="torchvision"), 3, pretrained=False
    )
    assert torch.equal(kept.fc.weight, own.fc.weight)


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize("changes", [{}, {"time_s": 90.0}, {"epochs": 5, "batch_size": 32, "norm_momentum": None}])
def test_the_command_makes_the_run_again(color_folder, name, changes):
    from featherlight.cli.train import command as train_command

    source = open_source(color_folder)
    recipe = default_recipe(facts_of(source), {"recipe": name, **changes})
    words = shlex.split(reproduce_command(recipe, source))[2:]
    context = train_command.make_context("train", words)
    given = {key: value for key in ("recipe", "model", "epochs", "seed") if (value := context.params[key]) is not None}
    if context.params["time"]:
        given["time_s"] = recipe.time_s
    assert default_recipe(facts_of(source), {**given, **dict(context.params["settings"])}) == recipe


def test_an_unknown_recipe_is_found_before_images_are_looked_at(tmp_path):
    with pytest.raises(UsageError, match="unknown recipe 'best'; there are: default"):
        train(tmp_path / "nowhere", recipe="best")


def test_extending_a_run_beyond_the_published_schedule_takes_the_schedule_along(tmp_path, color_folder):
    recipe = default_recipe(facts_of(open_source(color_folder)), {"recipe": ASCEND})
    assert extend(tmp_path, recipe, 100, None, None).schedule_epochs == 150
    assert extend(tmp_path, recipe, 151, None, None).schedule_epochs == 0
    assert extend(tmp_path, recipe, None, "1h", None).schedule_epochs == 0


def test_statistics_are_not_measured_anew_after_a_time_is_over(color_folder):
    facts = facts_of(open_source(color_folder))
    assert default_recipe(facts, {"recipe": "megvii-shufflenet-v2"}).reestimate_norms
    assert not default_recipe(facts, {"recipe": "megvii-shufflenet-v2", "time_s": 60.0}).reestimate_norms
    with pytest.raises(UsageError, match="an epoch more than the time"):
        default_recipe(facts, {"reestimate_norms": True, "time_s": 60.0})
