from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from featherlight.training.recipe import Recipe
from featherlight.training.schedule import Place, find_place, momentum_at, rate_factor

SCHEDULES = ("one-cycle", "cosine", "step", "exponential", "polynomial", "constant")
BATCHES = 7
Scheduler = lr_scheduler.LRScheduler


def places(recipe: Recipe) -> Iterator[Place]:
    for step in range(recipe.epochs * BATCHES):
        yield find_place(recipe, step / (recipe.epochs * BATCHES), step, BATCHES)


def pytorch_curve(
    make: Callable[[torch.optim.Optimizer], Scheduler], epochs: int, *, per_epoch: bool = False
) -> tuple[list[float], list[float]]:
    """Rate and momentum that each step of a plain loop has."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3, momentum=0.7)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for _ in range(epochs):
        for _ in range(BATCHES):
            rates.append(optimizer.param_groups[0]["lr"])
            momenta.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            if not per_epoch:
                scheduler.step()
        if per_epoch:
            scheduler.step()
    return rates, momenta


def warmed_up(main: Callable[[torch.optim.Optimizer], Scheduler], length: int, start: float) -> Any:
    return lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, start_factor=start, total_iters=length), main(optimizer)],
        milestones=[length],
    )


@pytest.mark.parametrize("schedule_epochs", [0, 20, 25])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.3, 0.5])
def test_one_cycle_is_pytorchs_in_rate_and_momentum(warmup, schedule_epochs):
    recipe = Recipe(
        "x", schedule="one-cycle", epochs=10, schedule_epochs=schedule_epochs, learning_rate=0.1, warmup=warmup,
        div_factor=10.0, final_div_factor=100.0, cycle_momentum=True, base_momentum=0.8, max_momentum=0.9,
    )  # fmt: skip
    steps = (schedule_epochs or 10) * BATCHES
    rates, momenta = pytorch_curve(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=steps, pct_start=warmup, div_factor=10.0, final_div_factor=100.0,
            base_momentum=0.8, max_momentum=0.9,
        ),
        10,
    )  # fmt: skip
    assert [0.1 * rate_factor(recipe, place) for place in places(recipe)] == pytest.approx(rates, rel=1e-12)
    assert [momentum_at(recipe, place) for place in places(recipe)] == pytest.approx(momenta, rel=1e-12)


STEP, EPOCH = {"rate_per": "step"}, {"rate_per": "epoch"}
TOTAL, LONGER = 10 * BATCHES, 15 * BATCHES


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        (STEP | {"schedule": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL)),
        (EPOCH | {"schedule": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, 10)),
        (
            STEP | {"schedule": "cosine", "warmup": 0.1, "warmup_start": 0.01},
            warmed_up(lambda o: lr_scheduler.CosineAnnealingLR(o, 9 * BATCHES), BATCHES, 0.01),
        ),
        (
            EPOCH | {"schedule": "cosine", "warmup": 0.3, "warmup_start": 0.01},
            warmed_up(lambda o: lr_scheduler.CosineAnnealingLR(o, 7), 3, 0.01),
        ),
        (STEP | {"schedule": "polynomial"}, lambda o: lr_scheduler.PolynomialLR(o, TOTAL)),
        (EPOCH | {"schedule": "polynomial", "power": 2.0}, lambda o: lr_scheduler.PolynomialLR(o, 10, power=2)),
        (STEP | {"schedule": "polynomial", "schedule_epochs": 15}, lambda o: lr_scheduler.PolynomialLR(o, LONGER)),
        (
            EPOCH | {"schedule": "polynomial", "warmup": 0.2, "warmup_start": 0.1},
            warmed_up(lambda o: lr_scheduler.PolynomialLR(o, 8), 2, 0.1),
        ),
        (EPOCH | {"schedule": "exponential", "gamma": 0.9}, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        (
            STEP | {"schedule": "exponential", "gamma": 0.9},
            lambda o: lr_scheduler.ExponentialLR(o, 0.9 ** (1 / BATCHES)),
        ),
        (EPOCH | {"schedule": "step", "step_epochs": 3, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 3, 0.5)),
        (STEP | {"schedule": "step", "step_epochs": 3}, lambda o: lr_scheduler.StepLR(o, 3 * BATCHES, 0.1)),
        (
            STEP | {"schedule": "step", "step_at": (0.3, 0.8), "gamma": 0.2},
            lambda o: lr_scheduler.MultiStepLR(o, [3 * BATCHES, 8 * BATCHES], 0.2),
        ),
        (STEP | {"schedule": "constant"}, lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    ],
)  # fmt: skip
def test_curves_are_pytorchs_step_for_step(settings, make):
    recipe = Recipe("x", epochs=10, **{"warmup": 0.0, **settings})
    rates, _ = pytorch_curve(make, 10, per_epoch=settings["rate_per"] == "epoch")
    # PyTorch multiplies from step to step, so its rounding errors add up.
    assert [0.3 * rate_factor(recipe, place) for place in places(recipe)] == pytest.approx(rates, rel=1e-10, abs=1e-15)


def test_momentum_stays_where_no_cycle_is_wanted():
    recipe = Recipe("x", schedule="one-cycle", momentum=0.7)
    assert {momentum_at(recipe, place) for place in places(recipe)} == {0.7}


def test_a_rate_per_epoch_is_the_same_within_an_epoch():
    recipe = Recipe("x", epochs=10, schedule="cosine", rate_per="epoch", warmup=0.0)
    rates = [rate_factor(recipe, place) for place in places(recipe)]
    assert len(set(rates)) == 10
    assert all(len(set(rates[first : first + BATCHES])) == 1 for first in range(0, len(rates), BATCHES))


@pytest.mark.parametrize("batches", [1, 3, 391, 5005])
def test_an_epoch_begins_at_its_first_step_whatever_rounding_says(batches):
    recipe = Recipe("x", epochs=600, schedule="step", step_epochs=2, gamma=0.973, rate_per="epoch", warmup=0.0)
    for epoch in range(600):
        step = epoch * batches
        place = find_place(recipe, step / (600 * batches), step, batches)
        assert place.epoch == epoch
        assert rate_factor(recipe, place) == pytest.approx(0.973 ** (epoch // 2), rel=1e-12)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "polynomial"])
def test_a_budget_of_time_ends_at_nothing(schedule):
    recipe = Recipe("x", schedule=schedule, epochs=0, time_s=60.0, warmup=0.2)
    assert rate_factor(recipe, find_place(recipe, 0.2, 5, BATCHES)) == pytest.approx(1.0)
    assert rate_factor(recipe, find_place(recipe, 1.0, 50, BATCHES)) <= 1 / 25e4


def test_under_a_budget_of_time_epochs_count_as_they_come():
    recipe = Recipe("x", schedule="exponential", gamma=0.5, epochs=0, time_s=60.0, warmup=0.0)
    assert rate_factor(recipe, find_place(recipe, 0.1, 2 * BATCHES, BATCHES)) == pytest.approx(0.25)


@given(
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.floats(0, 1),
    part=st.floats(-1, 2),
    epoch=st.floats(0, 1e4),
    grain=st.sampled_from([0.0, 0.001, 0.5, 1.0]),
    cycle=st.booleans(),
)
def test_rate_and_momentum_never_leave_their_ranges(schedule, warmup, part, epoch, grain, cycle):
    recipe = Recipe("x", schedule=schedule, warmup=warmup, cycle_momentum=cycle and schedule == "one-cycle")
    place = Place(part, epoch, grain)
    assert 0 <= rate_factor(recipe, place) <= 1 + 1e-12
    assert 0.85 - 1e-12 <= momentum_at(recipe, place) <= 0.95 + 1e-12
