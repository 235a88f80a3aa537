"""Golden numbers: every field that a source states, typed in from it a second time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from featherlight.errors import UsageError
from featherlight.models.catalogue import model_info
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.recipe import DEFAULT_RECIPE, Recipe, read_recipe, write_recipe
from featherlight.training.recipes import catalogue
from featherlight.training.recipes.catalogue import describe_recipe, find_recipe, list_recipes, other_networks
from featherlight.training.recipes.source import NOT_DONE, ORIGINS, show_settings

FACTS = DataFacts("photos", 50_000, 500, True)
FIELDS = {field.name for field in fields(Recipe)}

NOTHING_BUT = {
    "momentum": 0.9, "nesterov": False, "balance": "none", "clip_norm": 0.0, "ema_decay": 0.0, "trivial_augment": False,
    "auto_augment": "none", "color_jitter": 0.0, "random_erasing": 0.0, "repeats": 1, "mixup": 0.0, "cutmix": 0.0,
    "pretrained": "none", "optimizer": "sgd", "loss": "cross-entropy", "cycle_momentum": False, "schedule_epochs": 0,
    "reestimate_norms": False, "train_size": 0, "keep": "last", "time_s": 0.0, "in_channels": 3,
}  # fmt: skip
IMAGENET = NOTHING_BUT | {
    "input_size": 224, "stem": "imagenet", "resize": "crop", "crop_fraction": 0.875, "crop": "resized",
    "crop_area": 0.08, "flip": True, "mean": (), "std": (),
}  # fmt: skip
ASCEND = NOTHING_BUT | {
    "model": "mobilenet_v1_x1_0", "input_size": 32, "stem": "cifar", "epochs": 60, "batch_size": 128,
    "learning_rate": 0.1, "weight_decay": 0.0005, "weight_decay_on": "all", "schedule": "one-cycle",
    "schedule_epochs": 150, "rate_per": "step", "warmup": 0.3, "div_factor": 25.0, "final_div_factor": 10000.0,
    "momentum": 0.0, "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95, "label_smoothing": 0.0,
    "crop": "pad", "flip": True, "mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010),
    "loss": "double-softmax", "initialisation": "pytorch", "crop_fraction": 1.0, "dropout": 0.0,
}  # fmt: skip
CIFAR10 = {key: value for key, value in NOTHING_BUT.items() if key != "nesterov"} | {
    "input_size": 32, "stem": "cifar", "epochs": 200, "learning_rate": 0.1, "weight_decay": 0.0005,
    "weight_decay_on": "all", "schedule": "cosine", "rate_per": "epoch", "warmup": 0.0, "label_smoothing": 0.0,
    "crop": "pad", "flip": True, "mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010),
    "initialisation": "pytorch", "crop_fraction": 1.0,
}  # fmt: skip
MEGVII = IMAGENET | {
    "epochs": 240, "batch_size": 1024, "learning_rate": 0.5, "weight_decay": 0.00004, "weight_decay_on": "weights",
    "schedule": "polynomial", "power": 1.0, "rate_per": "step", "warmup": 0.0, "label_smoothing": 0.1,
    "color_jitter": 0.4, "mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3, "initialisation": "megvii",
    "norm_momentum": 0.1, "reestimate_norms": True,
}  # fmt: skip
MINDCV = IMAGENET | {
    "schedule": "cosine", "rate_per": "step", "warmup_start": 0.0, "label_smoothing": 0.1, "norm_momentum": 0.1,
}  # fmt: skip
MINDCV_SHUFFLENET = MINDCV | {
    "batch_size": 512, "weight_decay": 0.00004, "weight_decay_on": "weights", "color_jitter": 0.4,
    "initialisation": "mindcv-shufflenet",
}  # fmt: skip
V2_BIG = MINDCV_SHUFFLENET | {"epochs": 300, "warmup": 5 / 300}
MINDCV_V3 = MINDCV | {
    "batch_size": 600, "weight_decay": 0.00002, "weight_decay_on": "weights", "initialisation": "kaiming-normal",
    "dropout": 0.2,
}  # fmt: skip
SHUFFLENET_X2 = {"model": "shufflenet_v2_x2_0"}

GOLDEN: list[tuple[str, str | None, dict[str, Any]]] = [
    (
        "article-mindspore-shufflenet-v1", None,
        NOTHING_BUT | {
            "model": "shufflenet_v1_g3_x2_0.mindspore", "input_size": 224, "stem": "imagenet", "epochs": 10,
            "batch_size": 128, "learning_rate": 0.1, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0,
            "label_smoothing": 0.0, "crop": "none", "flip": False, "initialisation": "xavier-uniform",
            "norm_momentum": 0.1, "crop_fraction": 1.0,
        },
    ),
    ("article-ascend-mobilenet-v1", None, ASCEND),
    ("article-ascend-mobilenet-v1-corrected", None, ASCEND | {"loss": "cross-entropy"}),
    (
        "article-keras-shufflenet-v2", None,
        {
            "model": "shufflenet_v2_x1_0.keras", "input_size": 224, "stem": "imagenet", "dropout": 0.5,
            "loss": "cross-entropy", "pretrained": "none", "initialisation": "keras", "norm_momentum": 0.01,
        },
    ),
    (
        "article-mobilenet-v3", None,
        {"model": "mobilenet_v3_small", "dropout": 0.2, "schedule": "cosine", "warmup": 0.0},
    ),
    (
        "kuangliu-cifar10", None,
        CIFAR10 | {"model": "mobilenet_v2_x1_0", "batch_size": 128, "nesterov": False, "dropout": 0.0},
    ),
    ("kuangliu-cifar10", "shufflenet_v1_g3_x1_0.kuangliu", CIFAR10 | {"model": "shufflenet_v1_g3_x1_0.kuangliu"}),
    (
        "chenyaofo-cifar10", None,
        CIFAR10 | {"model": "shufflenet_v2_x0_5", "batch_size": 256, "nesterov": True},
    ),
    (
        "torchvision-mobilenet-v2", None,
        IMAGENET | {
            "model": "mobilenet_v2_x1_0", "epochs": 300, "batch_size": 256, "learning_rate": 0.045,
            "weight_decay": 0.00004, "weight_decay_on": "all", "schedule": "exponential", "gamma": 0.98,
            "rate_per": "epoch", "warmup": 0.0, "label_smoothing": 0.0, "dropout": 0.2, "initialisation": "network",
        },
    ),
    *(
        (
            "torchvision-mobilenet-v3", model,
            IMAGENET | {
                "model": model, "epochs": 600, "batch_size": 1024, "optimizer": "rmsprop", "learning_rate": 0.064,
                "rms_decay": 0.9, "eps": 0.0316, "weight_decay": 0.00001, "weight_decay_on": "all", "schedule": "step",
                "step_epochs": 2, "gamma": 0.973, "rate_per": "epoch", "warmup": 0.0, "label_smoothing": 0.0,
                "auto_augment": "imagenet", "random_erasing": 0.2, "dropout": 0.2, "initialisation": "network",
            },
        )
        for model in ("mobilenet_v3_large", "mobilenet_v3_small")
    ),
    *(
        (
            "torchvision-shufflenet-v2", model,
            IMAGENET | {
                "model": model, "train_size": 176, "crop_fraction": 224 / 232, "epochs": 600, "batch_size": 1024,
                "learning_rate": 0.5, "weight_decay": 0.00002, "weight_decay_on": "weights-and-biases",
                "schedule": "cosine", "rate_per": "epoch", "warmup": 5 / 600, "warmup_start": 0.01,
                "label_smoothing": 0.1, "trivial_augment": True, "random_erasing": 0.1, "mixup": 0.2, "cutmix": 1.0,
                "repeats": 4, "ema_decay": pytest.approx(0.99890773), "ema_every": 32, "ema_start": "copy",
                "initialisation": "pytorch",
            },
        )
        for model in ("shufflenet_v2_x1_5", "shufflenet_v2_x2_0")
    ),
    ("megvii-shufflenet-v1", None, MEGVII | {"model": "shufflenet_v1_g3_x2_0.megvii"}),
    ("megvii-shufflenet-v1", "shufflenet_v1_g8_x0_5.megvii", MEGVII | {"model": "shufflenet_v1_g8_x0_5.megvii"}),
    ("megvii-shufflenet-v2", None, MEGVII | {"model": "shufflenet_v2_x1_5.megvii"}),
    ("megvii-shufflenet-v2", "shufflenet_v2_x2_0.megvii", MEGVII | {"dropout": 0.2}),
    (
        "mindcv-shufflenet-v1", None,
        MINDCV_SHUFFLENET | {
            "model": "shufflenet_v1_g3_x1_0.mindcv", "epochs": 250, "warmup": 4 / 250, "learning_rate": 0.4,
        },
    ),
    (
        "mindcv-shufflenet-v1", "shufflenet_v1_g3_x0_5.mindcv",
        MINDCV_SHUFFLENET | {"epochs": 250, "warmup": 4 / 250, "learning_rate": 0.35},
    ),
    ("mindcv-shufflenet-v2", None, V2_BIG | {"learning_rate": 0.4, "random_erasing": 0.5}),
    (
        "mindcv-shufflenet-v2", "shufflenet_v2_x0_5",
        MINDCV_SHUFFLENET | {"epochs": 250, "warmup": 4 / 250, "learning_rate": 0.35, "random_erasing": 0.0},
    ),
    ("mindcv-shufflenet-v2", "shufflenet_v2_x1_5", V2_BIG | {"learning_rate": 0.5, "random_erasing": 0.5}),
    ("mindcv-shufflenet-v2", "shufflenet_v2_x2_0", V2_BIG | {"learning_rate": 0.5, "random_erasing": 0.25}),
    (
        "mindcv-mobilenet-v1", None,
        MINDCV | {
            "model": "mobilenet_v1_x1_0.mindcv", "epochs": 200, "batch_size": 512, "learning_rate": 0.4,
            "warmup": 2 / 200, "weight_decay": 0.00003, "weight_decay_on": "all",
            "initialisation": "mindcv-mobilenet-v1",
        },
    ),
    (
        "mindcv-mobilenet-v2", None,
        MINDCV | {
            "model": "mobilenet_v2_x1_0", "epochs": 320, "batch_size": 2048, "learning_rate": 0.4, "warmup": 4 / 320,
            "weight_decay": 0.00004, "weight_decay_on": "all", "initialisation": "kaiming-normal", "dropout": 0.2,
        },
    ),
    (
        "mindcv-mobilenet-v3", None,
        MINDCV_V3 | {
            "model": "mobilenet_v3_small", "epochs": 470, "learning_rate": 0.77, "warmup": 4 / 470, "color_jitter": 0.4,
        },
    ),
    (
        "mindcv-mobilenet-v3", "mobilenet_v3_large",
        MINDCV_V3 | {
            "model": "mobilenet_v3_large", "epochs": 420, "learning_rate": 1.08, "warmup": 4 / 420, "color_jitter": 0.0,
        },
    ),
]  # fmt: skip

STATED = {  # what stands in the article itself, in words or code; the rest follows from it or is ours
    "article-mindspore-shufflenet-v1": {
        "model", "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "loss", "initialisation",
    },
    "article-ascend-mobilenet-v1": {
        "model", "input_size", "stem", "mean", "std", "epochs", "batch_size", "optimizer", "learning_rate",
        "weight_decay", "schedule", "schedule_epochs", "warmup", "div_factor", "final_div_factor", "loss", "crop",
        "flip",
    },
    "article-keras-shufflenet-v2": {"model", "input_size", "stem", "dropout", "loss"},
    "article-mobilenet-v3": {"schedule"},
}  # fmt: skip


def recipe_of(name: str, **settings: Any) -> Recipe:
    return default_recipe(FACTS, {"recipe": name, **settings})


@pytest.mark.parametrize(("name", "model", "golden"), GOLDEN)
def test_every_field_is_as_published(name, model, golden):
    recipe = recipe_of(name, **({"model": model} if model else {}))
    assert {field: getattr(recipe, field) for field in golden} == golden


def test_every_recipe_has_golden_numbers():
    assert {name for name, _, _ in GOLDEN} == set(list_recipes()) - {DEFAULT_RECIPE}


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_is_whole(name):
    source = find_recipe(name)
    assert set(source.settings) <= FIELDS
    assert set().union(*source.by_origin().values()) == set(source.settings)
    assert tuple(source.by_origin()) == ORIGINS
    assert not source.stated.keys() & source.ours.keys()
    assert not source.implied.keys() & source.ours.keys()
    assert model_info(source.settings.get("model", "shufflenet_v2_x0_5"))
    assert source.source
    assert source.accuracy
    assert source.time


@pytest.mark.parametrize("name", list_recipes())
def test_docstrings_give_command_time_and_accuracy(name):
    text = " ".join((catalogue._RECIPES[name].__doc__ or "").split())
    source = find_recipe(name)
    assert f"featherlight train {source.data}" in text or name == DEFAULT_RECIPE
    if name != DEFAULT_RECIPE:
        assert f"--recipe {name}" in text
        assert "not run here" in text.lower()
        assert "time" in text.lower()
        assert "accuracy" in text.lower()


@pytest.mark.parametrize("name", STATED)
def test_what_an_article_does_not_state_is_not_said_to_be_stated(name):
    source = find_recipe(name)
    assert set(source.stated) == STATED[name]
    assert all(source.origin(field) == "ours" for field in FIELDS - set(source.stated) - set(source.implied))


def test_the_corrected_recipe_differs_in_its_loss_alone_and_that_is_ours():
    published, corrected = (find_recipe(f"article-ascend-mobilenet-v1{tail}") for tail in ("", "-corrected"))
    changed = {name for name, value in corrected.settings.items() if published.settings[name] != value}
    assert changed == {"loss"}
    assert (published.origin("loss"), corrected.origin("loss")) == ("stated", "ours")


def test_our_default_recipe_states_nothing():
    assert default_recipe(FACTS, {}) == default_recipe(FACTS, {"recipe": DEFAULT_RECIPE})
    assert find_recipe(DEFAULT_RECIPE).settings == {}


def test_what_is_given_changes_the_recipe_and_its_name_stays():
    recipe = recipe_of("article-ascend-mobilenet-v1", epochs="5", loss="cross-entropy", model="mobilenet_v1_x0_25")
    assert (recipe.recipe, recipe.epochs, recipe.loss) == ("article-ascend-mobilenet-v1", 5, "cross-entropy")
    assert (recipe.model, recipe.schedule_epochs, recipe.weight_decay) == ("mobilenet_v1_x0_25", 150, 5e-4)


def test_a_longer_run_than_the_published_schedule_takes_the_schedule_along():
    assert recipe_of("article-ascend-mobilenet-v1", epochs=150).schedule_epochs == 150
    assert recipe_of("article-ascend-mobilenet-v1", epochs=151).schedule_epochs == 0


@pytest.mark.parametrize("name", list_recipes())
def test_under_a_time_the_schedule_ends_with_it(name):
    recipe = recipe_of(name, time_s=60.0)
    assert (recipe.time_s, recipe.epochs, recipe.schedule_epochs) == (60.0, 0, 0)


def test_another_network_than_the_sources_gets_the_settings_of_the_first():
    other = recipe_of("mindcv-shufflenet-v2", model="shufflenet_v1_g3_x0_5")
    assert (other.model, other.learning_rate, other.epochs) == ("shufflenet_v1_g3_x0_5", 0.4, 300)


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(UsageError, match="did you mean megvii-shufflenet-v1"):
        find_recipe("megvi-shufflenet-v1")
    with pytest.raises(UsageError, match="there are: default, article-"):
        default_recipe(FACTS, {"recipe": "nothing"})


@pytest.mark.parametrize("name", list_recipes())
def test_the_run_directory_holds_every_field_and_the_name(tmp_path, name):
    recipe = recipe_of(name)
    write_recipe(tmp_path, recipe)
    assert f'recipe = "{name}"' in (tmp_path / "recipe.toml").read_text()
    assert read_recipe(tmp_path) == recipe


OLD = """\
data = "digits"
model = "shufflenet_v2_x0_5"
input_size = 32
optimizer = "adamw"
schedule = "step"
step_at = [0.5, 0.75]
momentum = 0.9
trivial_augment = true
epochs = 8
"""


def test_run_directories_from_before_recipes_had_names_are_read_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(OLD)
    recipe = read_recipe(tmp_path)
    assert recipe == Recipe("digits", input_size=32, optimizer="adamw", schedule="step", trivial_augment=True, epochs=8)
    assert (recipe.recipe, recipe.nesterov, recipe.gamma, recipe.weight_decay_on) == ("default", True, 0.1, "weights")
    assert (recipe.loss, recipe.cycle_momentum, recipe.eps, recipe.crop_area) == ("cross-entropy", False, 1e-8, 0.35)


def test_settings_are_shown_short():
    assert show_settings({"epochs": 60, "mean": (0.5, 0.25), "flip": True}) == "epochs=60, mean=0.5,0.25, flip=true"
    assert show_settings({"epochs": 60, **NOT_DONE}).startswith("epochs=60, ")
    assert show_settings({"mixup": 0.0, "flip": False}) == "off: mixup, flip"


def test_a_recipe_is_described_in_a_line():
    assert all(0 < len(describe_recipe(name)) < 110 and "\n" not in describe_recipe(name) for name in list_recipes())


def test_networks_of_a_source_exist_and_the_first_is_the_recipes_own():
    for name in list_recipes():
        models = find_recipe(name).models
        assert all(model_info(model) for model in models)
        assert models[:1] in ((), (find_recipe(name).settings.get("model"),))


def test_further_networks_are_told_by_what_is_theirs():
    small, *_ = other_networks("mindcv-shufflenet-v2")
    assert small == (
        ["shufflenet_v2_x0_5"],
        {"epochs": 250, "warmup": 4 / 250, "learning_rate": 0.35, "random_erasing": 0.0},
    )
    assert other_networks("megvii-shufflenet-v2") == [
        ([f"shufflenet_v2_{width}.megvii" for width in ("x2_0", "x1_0", "x0_5")], {})
    ]
    assert other_networks("torchvision-mobilenet-v3") == [(["mobilenet_v3_small"], {})]
    assert other_networks("default") == []
