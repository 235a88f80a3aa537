from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherlight.training.recipe import Recipe
from featherlight.training.schedule import rate_factor

SCHEDULES = ("one-cycle", "cosine", "step")


def test_one_cycle_is_pytorchs():
    steps, recipe = 200, Recipe("x", schedule="one-cycle", warmup=0.3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # PyTorch counts the peak at pct_start * total - 1 and the end at total - 1
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps, pct_start=0.3, cycle_momentum=False
    )
    peak, end = 0.3 * steps - 1, steps - 1
    for step in range(steps):
        progress = step / peak * 0.3 if step <= peak else 0.3 + 0.7 * (step - peak) / (end - peak)
        assert 0.1 * rate_factor(recipe, progress) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        reference.step()


def test_cosine_rises_linearly_and_falls_to_zero():
    recipe = Recipe("x", schedule="cosine", warmup=0.1)
    assert [rate_factor(recipe, p) for p in (0.0, 0.05, 0.1, 0.55, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_steps_divide_by_ten():
    recipe = Recipe("x", schedule="step", warmup=0.0, step_at=(0.5, 0.75))
    assert [rate_factor(recipe, p) for p in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


@given(schedule=st.sampled_from(SCHEDULES), warmup=st.floats(0, 1), progress=st.floats(-1, 2))
def test_the_rate_never_leaves_its_range(schedule, warmup, progress):
    assert 0 <= rate_factor(Recipe("x", schedule=schedule, warmup=warmup), progress) <= 1
