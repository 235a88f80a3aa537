"""Which learning rate: the range test of Smith 2017 (arXiv 1506.01186), a few steps at growing rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from featherlight.errors import DataError
from featherlight.loading.augment import random_seed_for
from featherlight.loading.batches import Batch, TrainBatches
from featherlight.training.learner import Learner
from featherlight.training.optimiser import set_rate

SMOOTHING = 0.9
GIVE_UP_AT = 4.0  # times the lowest loss; beyond it, nothing is learned any more
LEAST_STEPS = 10
LEAST_FALL = 0.97  # of the smoothed loss; less is noise
SAFETY = 10.0  # the rate at which loss is lowest is about to be too high; a tenth of it is the custom


@dataclass(frozen=True)
class RateTest:
    """What a range test found.

    Attributes:
        rates: tried, ascending, one a step.
        losses: of the training batch before the step.
        smoothed: running mean of the losses, its start corrected (Kingma & Ba 2015).
        lowest: rate at which the smoothed loss is lowest.
        steepest: rate below it at which the smoothed loss falls fastest.
        suggestion: for a schedule's highest rate: a tenth of ``lowest``.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...] = field(init=False)
    lowest: float = field(init=False)
    steepest: float = field(init=False)
    suggestion: float = field(init=False)

    def __post_init__(self) -> None:
        smoothed = _smooth(self.losses)
        best = int(np.argmin(smoothed))
        slopes = np.gradient(np.asarray(smoothed), np.log(np.asarray(self.rates)))
        lowest, steepest = self.rates[best], self.rates[int(np.argmin(slopes[: best + 1]))]
        found = {"smoothed": smoothed, "lowest": lowest, "steepest": steepest}
        for name, value in (found | {"suggestion": _two_digits(lowest / SAFETY)}).items():
            object.__setattr__(self, name, value)


def _smooth(losses: tuple[float, ...]) -> tuple[float, ...]:
    mean, result = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        result.append(mean / (1 - SMOOTHING**count))
    return tuple(result)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def try_rates(
    learner: Learner,
    batches: TrainBatches,
    low: float,
    high: float,
    steps: int,
    seen: Callable[[float], None] = lambda _part: None,
) -> RateTest:
    """Trains for ``steps`` updates while the rate grows evenly in its logarithm; stops when the loss runs away.

    Args:
        learner: fresh; it is worth nothing afterwards.
        batches: training images.
        low: first rate.
        high: last rate.
        steps: at least 10.
        seen: is told the part done after each step.

    Raises:
        DataError: no image can be read, the first rates are far too high, or the loss did not fall at any.
    """
    rates, losses, source = [], list[float](), _endless(batches)
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        loss = _one_update(learner, source, step, rate)
        seen((step + 1) / steps)
        if not math.isfinite(loss) or (
            losses and _smooth((*losses, loss))[-1] > GIVE_UP_AT * min(_smooth(tuple(losses)))
        ):
            break
        rates.append(rate)
        losses.append(loss)
    if len(losses) < LEAST_STEPS:
        raise DataError(f"the loss runs away after {len(losses)} steps, at a rate of {rate:.2g}; try a smaller --low")
    found = RateTest(tuple(rates), tuple(losses))
    before = found.smoothed[: found.rates.index(found.lowest) + 1]
    if before[-1] > LEAST_FALL * max(before):
        raise DataError(
            f"the loss did not fall at any rate in {len(rates)} steps; try --steps {3 * steps}, or other rates"
        )
    return found


def _one_update(learner: Learner, source: Iterator[Batch], step: int, rate: float) -> float:
    """Gathers as many batches as an update takes; gives the mean loss before it."""
    total = 0.0
    for part in range(learner.recipe.accumulate):
        loss, _ = learner.gather(next(source), random_seed_for(learner.recipe.seed, step, part))
        total += loss / learner.recipe.accumulate
    set_rate(learner.optimizer, rate)
    learner.update()
    return total


def _endless(batches: TrainBatches) -> Iterator[Batch]:
    epoch = 0
    while True:
        count = 0
        for batch in batches.epoch(epoch):
            count += 1
            yield batch
        if count == 0:
            raise DataError("not one training image could be read; see the messages above")
        epoch += 1
