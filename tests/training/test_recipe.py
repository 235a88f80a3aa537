from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.training.recipe import Recipe, read_field, read_recipe, write_recipe


def test_recipe_survives_writing_and_reading(tmp_path):
    recipe = Recipe("photos", dropout=None, step_at=(0.3, 0.6), flip=False, optimizer="adamw", learning_rate=1e-3)
    write_recipe(tmp_path, recipe)
    assert read_recipe(tmp_path) == recipe


@given(
    rate=st.floats(0, 1000),
    seed=st.integers(0, 2**63 - 1),
    data=st.text(st.characters(blacklist_categories=("Cs",))),
    step_at=st.lists(st.floats(0, 1), max_size=4).map(tuple),
    dropout=st.none() | st.floats(0, 0.9),
)
def test_any_value_survives_writing_and_reading(tmp_path_factory, rate, seed, data, step_at, dropout):
    recipe = Recipe(data, learning_rate=rate, seed=seed, step_at=step_at, dropout=dropout)
    run = tmp_path_factory.mktemp("run")
    write_recipe(run, recipe)
    assert read_recipe(run) == recipe


def test_every_field_is_described_in_the_docstring():
    described = {line.strip().partition(":")[0] for line in (Recipe.__doc__ or "").splitlines()}
    assert {field.name for field in fields(Recipe)} <= described


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "20", 20),
        ("learning_rate", "1e-3", 1e-3),
        ("flip", "no", False),
        ("flip", "TRUE", True),
        ("dropout", "none", None),
        ("dropout", "0.2", 0.2),
        ("step_at", "0.3,0.6", (0.3, 0.6)),
        ("schedule", "cosine", "cosine"),
        ("model", "mobilenet_v2_x1_0", "mobilenet_v2_x1_0"),
    ],
)
def test_texts_are_read_as_the_fields_type(name, text, value):
    assert read_field(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("epoch", "20", "there are: data, model"),
        ("epochs", "2.5", "a whole number"),
        ("epochs", 2.5, "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", True, "a number"),
        ("flip", "maybe", "true or false"),
        ("schedule", "linear", "one-cycle, cosine, step"),
        ("step_at", "0.3;0.6", "numbers with commas"),
    ],
)
def test_unfit_settings_say_what_would_fit(name, text, says):
    with pytest.raises(UsageError, match=says):
        read_field(name, text)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"epochs": 5, "time_s": 60.0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"input_size": 8},
        {"in_channels": 2},
        {"label_smoothing": 1.0},
    ],
)
def test_impossible_values_are_refused(setting):
    with pytest.raises(UsageError, match="recipe: "):
        Recipe("photos", **setting)


def test_recipe_of_no_run_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no run directory"):
        read_recipe(tmp_path)


def test_recipe_with_an_unknown_field_is_an_error(tmp_path):
    (tmp_path / "recipe.toml").write_text('data = "digits"\nspeling = 1\n')
    with pytest.raises(UsageError, match="speling"):
        read_recipe(tmp_path)


def test_recipe_that_is_no_toml_is_an_error(tmp_path):
    (tmp_path / "recipe.toml").write_text("data = [")
    with pytest.raises(UsageError, match=r"recipe\.toml"):
        read_recipe(tmp_path)
