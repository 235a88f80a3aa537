"""A budget of time, in a world whose clock moves only when something is said to take time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import AUGMENTATION, PREPROCESSING, ColourValidation, Watcher, colour_images

from featherlight.errors import TrainingStoppedError
from featherlight.loading.batches import Batch, MemoryBatches
from featherlight.training import checkpoint, clock, trainer
from featherlight.training.checkpoint import Origin
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Trainer, Validation

BUDGET = 100.0


@dataclass
class World:
    """How long things take, in seconds of its own; ``slower`` multiplies all, by the present time."""

    step_s: float
    wait_s: float = 0.0
    image_s: float = 0.0  # of a validation image
    save_s: float = 0.02
    slower: Callable[[float], float] = lambda now: 1.0
    now: float = 1000.0
    saves: int = 0

    def monotonic(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds * self.slower(self.now - 1000.0)


class SlowValidation(ColourValidation):
    world: World

    def part(self, count: int) -> SlowValidation:
        part = SlowValidation()
        part.world, part.images, part.labels = self.world, self.images[:count], self.labels[:count]
        return part

    def __call__(self, model: torch.nn.Module) -> Validation:
        self.world.passes(len(self.images) * self.world.image_s)
        return super().__call__(model)


class SlowBatches(MemoryBatches):
    world: World

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        for batch in super().epoch(epoch, start):
            self.world.passes(self.world.wait_s)
            yield batch


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    def build(world: World, watcher: Watcher, images: int = 40, **settings: Any) -> Trainer:
        for module in (clock, trainer):
            monkeypatch.setattr(module, "time", world)
        write = checkpoint.write_bytes

        def write_slowly(path: Path, data: bytes) -> None:
            world.saves += 1
            world.passes(world.save_s)
            write(path, data)

        monkeypatch.setattr(checkpoint, "write_bytes", write_slowly)
        common = {"epochs": 0, "time_s": BUDGET, "batch_size": 8, "input_size": 16, "stem": "cifar"}
        recipe = Recipe("colours", **{**common, **settings})
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
        model.register_forward_hook(lambda module, *_: world.passes(world.step_s if module.training else 0))
        batches = SlowBatches(*colour_images(images, seed=0), AUGMENTATION, recipe.batch_size, 0, [])
        batches.world = world
        validation = SlowValidation()
        validation.world = world
        learner = Learner(model, recipe, PREPROCESSING, AUGMENTATION)
        return Trainer(learner, batches, validation, tmp_path / "run", Origin("f"), watcher)

    return build


WORLDS = {
    "usual": (World(step_s=0.9, image_s=0.01, save_s=0.05), 40),
    "an epoch longer than the budget": (World(step_s=0.9, image_s=0.01), 2000),
    "an epoch longer than the budget and a long validation": (World(step_s=0.9, image_s=1.0), 2000),
    "a long validation": (World(step_s=0.9, image_s=0.8), 40),
    "a validation longer than many epochs": (World(step_s=0.1, image_s=0.5), 16),
    "slow checkpoints": (World(step_s=0.9, image_s=0.01, save_s=4.0), 40),
    "images arrive slowly": (World(step_s=0.1, wait_s=1.5, image_s=0.1), 40),
    "slow steps": (World(step_s=4.0, image_s=0.1), 40),
    "three times slower from the middle on": (
        World(step_s=0.4, image_s=0.3, save_s=0.5, slower=lambda now: 3.0 if now > 50 else 1.0),
        200,
    ),
    "three times slower near the end": (
        World(step_s=0.4, image_s=0.2, slower=lambda now: 3.0 if now > 80 else 1.0),
        2000,
    ),
    "three times faster from the middle on": (
        World(step_s=0.9, image_s=0.5, slower=lambda now: 0.33 if now > 50 else 1.0),
        200,
    ),
    "noisy": (World(step_s=0.5, image_s=0.2, slower=lambda now: 0.5 + (now * 7.3) % 1), 40),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_budget_is_kept_within_a_twentieth_and_the_rate_ends_at_its_end(make, name, accumulate):
    world, images = WORLDS[name]
    world, watcher = replace(world), Watcher()
    trained = make(world, watcher, images, accumulate=accumulate)
    trained.fit()
    assert 0.95 * BUDGET <= world.now - 1000 <= 1.05 * BUDGET
    assert watcher.rows[-1]["learning_rate"] == pytest.approx(0.07 / 25 / 1e4)
    assert trained.progress.finished
    assert trained.progress.validating_s - trained.progress.validation_s <= BUDGET / 4


@pytest.mark.parametrize("step", [1, 7, 40])
def test_a_budget_is_kept_across_an_interruption(make, step):
    world = World(step_s=0.9, image_s=0.2, save_s=0.1)
    with pytest.raises(TrainingStoppedError):
        make(world, Watcher(interrupt_at=step)).fit()
    trained = world.now - 1000
    world.now += 5000.0  # at night
    watcher, began = Watcher(), world.now
    make(world, watcher).fit()
    assert 0.95 * BUDGET <= trained + world.now - began <= 1.05 * BUDGET
    assert watcher.rows[-1]["learning_rate"] == pytest.approx(0.07 / 25 / 1e4)


def test_the_rate_follows_the_schedule_over_the_time(make):
    world, rates = World(step_s=0.5, image_s=0.01), []
    watcher = Watcher()
    trained = make(world, watcher, 200, schedule="cosine", warmup=0.0)
    watcher.step = lambda text, part: rates.append((part, trained.learner.rate))  # type: ignore[method-assign]
    trained.fit()
    for part, rate in rates[:-1]:
        assert rate == pytest.approx(0.07 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * part)).item()), abs=3e-4)
    assert rates[-1][1] == 0.0


def test_checkpoints_take_a_small_part_of_the_time(make):
    world = World(step_s=0.02, image_s=0.0001, save_s=0.05)
    make(world, Watcher(), time_s=20.0).fit()
    assert 2 <= world.saves * world.save_s / 0.05 <= 20 * 0.04 / 0.05


def test_nothing_is_written_where_there_is_no_run_directory(make, tmp_path):
    trained = make(World(step_s=1.0), Watcher(), time_s=20.0)
    trained.run = None
    trained.fit()
    assert trained.progress.finished
    assert list(tmp_path.iterdir()) == []
