"""What recipes ask of the trainer beyond the default, also when a run is interrupted and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import PREPROCESSING, Watcher, assert_same_bits, make_trainer, weights_of
from torch import Tensor, nn

from featherlight.errors import TrainingStoppedError
from featherlight.models.engine import normalized

CYCLE = {"cycle_momentum": True, "warmup": 0.3, "schedule_epochs": 5, "ema_decay": 0.0}
WAYS: list[dict[str, Any]] = [
    CYCLE | {"nesterov": False, "momentum": 0.0, "weight_decay_on": "all", "loss": "double-softmax"},
    CYCLE | {"optimizer": "adamw", "learning_rate": 0.01},
    {"optimizer": "rmsprop", "eps": 0.0316, "learning_rate": 0.01, "schedule": "step", "step_epochs": 1, "gamma": 0.9},
    {"schedule": "cosine", "warmup": 0.4, "warmup_start": 0.01, "rate_per": "epoch", "ema_every": 3,
     "ema_start": "copy", "weight_decay_on": "weights-and-biases"},
    {"schedule": "polynomial", "reestimate_norms": True, "warmup": 0.0},
    {"schedule": "exponential", "gamma": 0.8, "keep": "best", "reestimate_norms": True},
]  # fmt: skip


@pytest.mark.parametrize("step", [2, 5, 8])
@pytest.mark.parametrize("settings", WAYS)
def test_interrupted_and_resumed_ends_in_the_same_bits(
    tmp_path: Path, whole_run: Callable[..., dict[str, Tensor]], settings: dict[str, Any], step: int
) -> None:
    with pytest.raises(TrainingStoppedError, match="--resume"):
        make_trainer(tmp_path, Watcher(interrupt_at=step), **settings).fit()
    resumed = make_trainer(tmp_path, **settings)
    assert resumed.progress.step == step
    assert_same_bits(whole_run(**settings), weights_of(resumed.fit()))


def test_rate_and_momentum_of_a_run_are_one_cycles(tmp_path: Path) -> None:
    """As a plain loop's optimiser has them in front of each step, over a schedule that is longer than the run."""
    trainer = make_trainer(tmp_path, **CYCLE, schedule="one-cycle", nesterov=False)
    seen: list[tuple[float, float]] = []
    optimizer = trainer.learner.optimizer
    step = optimizer.step

    def watch() -> None:
        group = optimizer.param_groups[1]
        seen.append((group["lr"], group["momentum"]))
        step()

    optimizer.step = watch  # type: ignore[method-assign, assignment]
    trainer.fit()
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(plain, 0.05, steps_per_epoch=5, epochs=5, pct_start=0.3)
    assert len(seen) == 15
    for rate, momentum in seen:
        assert rate == pytest.approx(plain.param_groups[0]["lr"], rel=1e-12)
        assert momentum == pytest.approx(plain.param_groups[0]["momentum"], rel=1e-12)
        plain.step()
        scheduler.step()


def test_reestimated_statistics_are_means_over_one_more_epoch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, reestimate_norms=True, dropout=0.0, keep="last")
    kept = trainer.fit()
    first = next(module for module in kept.modules() if isinstance(module, nn.BatchNorm2d))
    convolution = kept.conv1[0]  # type: ignore[index]
    means = [
        convolution(normalized(batch.images, PREPROCESSING)).mean((0, 2, 3)).detach()
        for batch in trainer.batches.epoch(trainer.recipe.epochs)
    ]
    torch.testing.assert_close(first.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-6)
    assert first.momentum == 0.1


def test_reestimation_changes_statistics_and_nothing_else(tmp_path: Path) -> None:
    plain = weights_of(make_trainer(tmp_path / "a").fit())
    measured = weights_of(make_trainer(tmp_path / "b", reestimate_norms=True).fit())
    for name, value in plain.items():
        is_statistic = "running" in name or "num_batches" in name
        assert torch.equal(value, measured[name]) != is_statistic, name
