"""Further candidates: image size and recipe drawn by Optuna, which learns from the first round what is worth a try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featherlight.errors import explain_missing
from featherlight.training.defaults import DataFacts
from featherlight.workflows.choose_screen import name_of, recipe_for
from featherlight.workflows.choose_state import Entry, State

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

RATE_RANGE = (1 / 3, 3.0)  # times the default rate
SIDE_FACTORS = (0.65, 0.8, 1.0, 1.25)  # of the usual image size
SIDE_MULTIPLE = 16
LEAST_SIDE = 32


def check_optuna() -> None:
    """Says at once what would only come out later.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise explain_missing(error, "--trials") from error


def draw_trial(state: State, facts: DataFacts, number: int) -> tuple[str, Entry]:
    """A candidate that Optuna's TPE proposes, knowing the first round of all others; always the same one.

    Args:
        state: with the results so far.
        facts: of the data.
        number: of the draw; the seed depends on it, so that a choice that was killed draws what it would have drawn.
    """
    space = search_space(state)
    trial = _study(state, space, number).ask(dict(space))
    drawn = dict(trial.params)
    entry = Entry(drawn["model"], int(drawn["input_size"]), trial=drawn)
    usual = recipe_for(state, facts, entry, 60.0)
    entry.settings = {
        "learning_rate": round(usual.learning_rate * drawn["rate"], 5),
        "label_smoothing": drawn["label_smoothing"],
        "trivial_augment": drawn["trivial_augment"],
    }
    entry.settings = {name: value for name, value in entry.settings.items() if name not in state.order.settings}
    return f"{name_of(entry.model, entry.input_size)}-trial{number + 1}", entry


def search_space(state: State) -> dict[str, BaseDistribution]:
    """What is drawn, by name: one of the starting networks, image sizes around theirs, and what matters in a recipe."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    starters = [state.entries[name] for name in state.starters]
    return {
        "model": CategoricalDistribution(list(dict.fromkeys(entry.model for entry in starters))),
        "input_size": CategoricalDistribution(_sides([entry.input_size for entry in starters])),
        "rate": FloatDistribution(*RATE_RANGE, log=True),
        "label_smoothing": CategoricalDistribution([0.0, 0.1]),
        "trivial_augment": CategoricalDistribution([False, True]),
    }


def _sides(usual: Sequence[int]) -> list[int]:
    near = {
        max(LEAST_SIDE, round(side * factor / SIDE_MULTIPLE) * SIDE_MULTIPLE)
        for side in usual
        for factor in SIDE_FACTORS
    }
    return sorted({*near, *usual})


def _study(state: State, space: Mapping[str, BaseDistribution], number: int) -> Study:
    """What the first round has shown so far, as Optuna knows it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=(state.order.seed + number) % 2**32, n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for name, entry in state.entries.items():
        first = entry.first_top1
        if first is not None and (entry.trial or name in state.starters):
            params = entry.trial or _as_drawn(state, entry)
            study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(space), value=first))
    return study


def _as_drawn(state: State, entry: Entry) -> dict[str, Any]:
    """A starter, which has the default recipe, as if it had been drawn."""
    shared = state.order.settings
    return {
        "model": entry.model,
        "input_size": entry.input_size,
        "rate": 1.0,
        "label_smoothing": 0.1 if shared.get("label_smoothing", 0.1) else 0.0,
        "trivial_augment": bool(shared.get("trivial_augment", False)),
    }
