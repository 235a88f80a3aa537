from __future__ import annotations

import pytest
import torch
from test_trainer import AUGMENTATION, PREPROCESSING, colour_images

from featherlight.errors import DataError
from featherlight.loading.batches import MemoryBatches
from featherlight.training.learner import Learner
from featherlight.training.rates import RateTest, try_rates
from featherlight.training.recipe import Recipe


def bowl(rate: float) -> float:
    """Flat, falling, lowest at 1, rising."""
    return 2.0 if rate < 0.01 else 2.0 - (rate / 1.0) ** 0.5 if rate <= 1 else 1.0 + (rate - 1) ** 2


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss():
    rates = tuple(1e-4 * 1e5 ** (k / 199) for k in range(200))
    found = RateTest(rates, tuple(map(bowl, rates)))
    assert 1.0 <= found.lowest <= 2.0  # the running mean lags a little
    assert found.suggestion == pytest.approx(found.lowest / 10, rel=0.05)
    assert 0.1 < found.steepest < found.lowest


def test_smoothing_corrects_its_start():
    assert RateTest((0.1, 0.2, 0.3), (3.0, 3.0, 3.0)).smoothed == pytest.approx((3.0, 3.0, 3.0))
    assert RateTest((0.1, 0.2), (1.0, 2.0)).smoothed[1] == pytest.approx((0.9 * 0.1 + 0.2) / 0.19)


def linear(accumulate: int = 1) -> tuple[Learner, MemoryBatches]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    recipe = Recipe("colours", ema_decay=0.0, accumulate=accumulate)
    images, labels = colour_images(40, seed=0)
    batches = MemoryBatches(images, labels, AUGMENTATION, 8, 0, [])
    return Learner(model, recipe, PREPROCESSING, AUGMENTATION), batches


@pytest.mark.parametrize("accumulate", [1, 3])
def test_rates_grow_evenly_and_the_test_ends_when_the_loss_runs_away(accumulate):
    learner, batches = linear(accumulate)
    found = try_rates(learner, batches, 1e-3, 1e4, 100)
    steps = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert steps == pytest.approx([1e7 ** (1 / 99)] * len(steps))
    assert len(found.rates) < 100
    assert 1e-3 < found.suggestion < found.lowest


def test_rates_far_too_high_and_far_too_low_are_told():
    with pytest.raises(DataError, match="--low"):
        try_rates(*linear(), 1e6, 1e9, 50)
    with pytest.raises(DataError, match="did not fall"):
        try_rates(*linear(), 1e-12, 1e-10, 50)
