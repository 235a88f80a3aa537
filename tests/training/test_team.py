from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from teams import run_team
from test_trainer import (
    AUGMENTATION,
    PREPROCESSING,
    ColourValidation,
    Watcher,
    assert_same_bits,
    colour_images,
    tiny_network,
    weights_of,
)
from torch import nn

from featherlight.errors import TrainingStoppedError
from featherlight.loading.batches import Batch, MemoryBatches
from featherlight.loading.plan import deal
from featherlight.training.checkpoint import CHECKPOINT_FILE, Origin, read_progress
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.shared_norms import SharedBatchNorm2d, share_norms, unshare_norms
from featherlight.training.team import ALONE, Team
from featherlight.training.trainer import Trainer

STILL = replace(AUGMENTATION, crop="none", flip=False, mixup=0.0)
WEIGHTS = torch.tensor([0.5, 1.7])


def make_learner(team: Team, network: nn.Module, **settings: Any) -> Learner:
    recipe = Recipe("colours", **{"batch_size": 8, "learning_rate": 0.05, "ema_decay": 0.9, **settings})
    if recipe.sync_norms and not team.is_alone:
        share_norms(network)
    return Learner(network, recipe, PREPROCESSING, STILL, WEIGHTS, team=team)


def fresh_network() -> nn.Module:
    torch.manual_seed(0)
    return tiny_network(0.0)


def make_trainer(
    team: Team, run: Path | None, watcher: Watcher | None = None, batches: Any = None, **settings: Any
) -> Trainer:
    learner = make_learner(team, fresh_network(), **{"epochs": 3, **settings})
    images, labels = colour_images(41, seed=0)
    own = MemoryBatches(images, labels, STILL, learner.recipe.batch_size, 0, [])
    return Trainer(learner, batches or own, ColourValidation(), run, Origin("f"), watcher or Watcher())


def state_after(learner: Learner) -> dict[str, torch.Tensor]:
    statistics = dict(learner.model.named_buffers())
    gradients = {f"gradient of {name}": p.grad for name, p in learner.model.named_parameters()}
    return {name: value.detach().clone() for name, value in {**statistics, **gradients}.items()}


def share_of(batch: Batch, team: Team) -> Batch:
    (mine,) = deal(torch.arange(len(batch.labels)).numpy(), len(batch.labels), team.rank, team.world)
    return Batch(0, batch.images[mine], batch.labels[mine], batch.weights[mine])


def one_batch(count: int) -> Batch:
    weights = torch.linspace(0.5, 1.5, count)
    return Batch(0, *colour_images(count, seed=0), weights)


def gradients_of_shares(parts: list[int], team: Team) -> dict[str, torch.Tensor]:
    learner = make_learner(team, fresh_network(), sync_norms=True)
    for count in parts:
        learner.gather(share_of(one_batch(count), team), 0)
    learner._combine()
    return state_after(learner)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_gradient_of_a_shared_batch_is_that_of_one_process(tmp_path, world):
    # 13 images: no two, and no four, processes have as many. Images and classes are weighed, norms see all images.
    found = run_team(world, partial(gradients_of_shares, [13]), tmp_path)
    alone = make_learner(ALONE, fresh_network())
    alone.gather(one_batch(13), 0)
    expected = state_after(alone)
    for rank in range(world):
        assert_same_bits(found[rank], found[0])
    for name, value in expected.items():
        torch.testing.assert_close(found[0][name], value, rtol=2e-5, atol=2e-7, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.slow
def test_gradient_of_gathered_shared_batches_is_that_of_one_process(tmp_path):
    found = run_team(2, partial(gradients_of_shares, [13, 6]), tmp_path)
    alone = make_learner(ALONE, fresh_network(), accumulate=2)
    for count in (13, 6):
        alone.gather(one_batch(count), 0)
    for name, parameter in alone.model.named_parameters():
        torch.testing.assert_close(found[0][f"gradient of {name}"], parameter.grad / 19, rtol=2e-5, atol=2e-7)


def train(
    run: Path | None, settings: dict[str, Any], team: Team
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    watcher = Watcher()
    network = make_trainer(team, run, watcher, **settings).fit()
    return weights_of(network), watcher.rows


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"accumulate": 2}, marks=pytest.mark.slow),
        pytest.param({"reestimate_norms": True}, marks=pytest.mark.slow),
    ],
)
def test_a_team_ends_with_the_weights_and_rows_of_one_process(tmp_path, settings):
    results = run_team(2, partial(train, tmp_path / "run", {"sync_norms": True, **settings}), tmp_path)
    weights, rows = train(None, settings, ALONE)
    for found, found_rows in results:
        assert_same_bits(found, results[0][0])
        for name, value in weights.items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-4)
        for row, expected in zip(found_rows, rows, strict=True):
            assert [row[name] for name in ("epoch", "step", "images_seen", "learning_rate", "val_top1")] == [
                expected[name] for name in ("epoch", "step", "images_seen", "learning_rate", "val_top1")
            ]
            assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_without_shared_norms_all_processes_still_end_with_the_same_weights(tmp_path):
    results = run_team(3, partial(train, None, {"batch_size": 12}), tmp_path)
    for weights, _ in results:
        assert_same_bits(weights, results[0][0])


class Halting(MemoryBatches):
    """On one process, one batch has no image that can be read."""

    def epoch(self, epoch: int, start: int = 0) -> Any:
        from featherlight.loading.plan import place_among_processes

        last = len(self) - 1
        lost = {(1, 1), (1, last)} if place_among_processes()[0] == 1 else set()
        yield from (batch for batch in super().epoch(epoch, start) if (epoch, batch.number) not in lost)


def train_halting(team: Team) -> tuple[dict[str, torch.Tensor], int]:
    trainer = make_trainer(team, None, batches=Halting(*colour_images(41, seed=0), STILL, 8, 0, []))
    weights = weights_of(trainer.fit())
    return weights, trainer.progress.images_seen


@pytest.mark.slow
def test_a_process_without_a_readable_image_waits_for_the_others(tmp_path):
    (weights, seen), (others, also_seen) = run_team(2, train_halting, tmp_path)
    assert_same_bits(weights, others)
    assert seen == also_seen
    assert 3 * 41 - 10 <= seen < 3 * 41


def stop_one(run: Path, watcher: Watcher, settings: dict[str, Any], team: Team) -> str:
    trainer = make_trainer(team, run, watcher if team.rank == 1 else Watcher(), **settings)
    try:
        trainer.fit()
    except TrainingStoppedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("accumulate", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_signal_to_one_process_stops_all_and_the_rest_gives_the_same_bits(tmp_path, accumulate):
    settings = {"accumulate": accumulate}
    watcher = Watcher(interrupt_at=7, signal=signal.SIGTERM)
    messages = run_team(2, partial(stop_one, tmp_path / "run", watcher, settings), tmp_path)
    assert all("interrupted" in message for message in messages)
    assert 0 < read_progress(tmp_path / "run").batches < 15
    resumed = run_team(2, partial(train, tmp_path / "run", settings), tmp_path)
    whole = run_team(2, partial(train, tmp_path / "whole", settings), tmp_path)
    assert_same_bits(resumed[0][0], whole[0][0])


def test_only_the_leader_writes(tmp_path):
    def work(team: Team) -> list[str]:
        run = tmp_path / f"run-{team.rank}"
        make_trainer(team, run).fit()
        return [str(path) for path in run.rglob("*") if path.is_file()]

    leader, other = run_team(2, work, tmp_path)
    assert leader == [str(tmp_path / "run-0" / CHECKPOINT_FILE)]
    assert other == []


def test_a_budget_of_time_ends_together(tmp_path):
    settings = {"epochs": 0, "time_s": 1.5}
    (weights, rows), (others, other_rows) = run_team(2, partial(train, None, settings), tmp_path)
    assert_same_bits(weights, others)
    assert [row["step"] for row in rows] == [row["step"] for row in other_rows]
    assert [row["learning_rate"] for row in rows] == [row["learning_rate"] for row in other_rows]


@pytest.mark.slow
def test_a_target_stops_all(tmp_path):
    results = run_team(2, partial(train, None, {"target": 0.1}), tmp_path)
    assert [[row.get("stopped") for row in rows] for _, rows in results] == [["target"], ["target"]]


def lose_one(team: Team) -> str:
    if team.rank == 1:
        os._exit(0)
    try:
        make_trainer(team, None).fit()
    except TrainingStoppedError as error:
        return str(error)
    return ""


def test_a_lost_process_is_named_to_the_others(tmp_path):
    torch.save("", tmp_path / "result-1.pt")
    assert "has ended" in run_team(2, lose_one, tmp_path)[0]


def diverge_one(team: Team) -> str:
    trainer = make_trainer(team, None)
    if team.rank == 1:
        trainer.learner.class_weights = torch.tensor([float("nan"), 1.0])
    with pytest.raises(TrainingStoppedError) as caught:
        trainer.fit()
    return str(caught.value)


@pytest.mark.slow
def test_one_process_that_diverges_stops_all(tmp_path):
    assert all("diverged" in message for message in run_team(2, diverge_one, tmp_path))


def test_shared_norms_are_those_of_pytorch_where_there_is_one_process():
    network = fresh_network()
    state = weights_of(network)
    share_norms(network)
    assert any(type(module) is SharedBatchNorm2d for module in network.modules())
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(network.train()(images), fresh_network().train()(images))
    unshare_norms(network)
    assert not any(type(module) is SharedBatchNorm2d for module in network.modules())
    assert weights_of(network).keys() == state.keys()
