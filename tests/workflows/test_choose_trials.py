from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.choosing import Limits
from featherlight.training.defaults import DataFacts
from featherlight.workflows.choose_order import Order, check_order
from featherlight.workflows.choose_screen import recipe_for
from featherlight.workflows.choose_state import Entry, State
from featherlight.workflows.choose_trials import draw_trial, search_space

pytest.importorskip("optuna")
PHOTOS = DataFacts("photos", 2_000, 100, True)


def state_with_results(**settings: object) -> State:
    state = State(Path("nowhere"), check_order(Order("photos", Limits(), 3600.0, settings=settings)), "")
    for model, top1 in (("mobilenet_v1_x0_25", 0.6), ("shufflenet_v2_x0_5", 0.7)):
        state.entries[f"{model}-96"] = Entry(model, 96, first_top1=top1)
    state.starters = list(state.entries)
    return state


def test_the_same_draw_comes_out_again_after_a_kill() -> None:
    first, again = (draw_trial(state_with_results(), PHOTOS, 3) for _ in range(2))
    assert first == again
    assert first[0].endswith("-trial4")


def test_draws_are_recipes_near_the_usual_one() -> None:
    state = state_with_results()
    usual = {model: recipe_for(state, PHOTOS, Entry(model, 96), 60.0) for model in search_space(state)["model"].choices}
    for number in range(4):
        _, entry = draw_trial(state, PHOTOS, number)
        assert entry.input_size in search_space(state)["input_size"].choices
        recipe = recipe_for(state, PHOTOS, entry, 60.0)
        assert 0.33 < recipe.learning_rate / usual[entry.model].learning_rate < 3.01
        assert recipe.model == entry.model


def test_what_a_person_has_set_is_not_drawn() -> None:
    _, entry = draw_trial(state_with_results(label_smoothing=0.2), PHOTOS, 0)
    assert "label_smoothing" not in entry.settings
