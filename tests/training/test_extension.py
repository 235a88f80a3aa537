from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_trainer import Watcher, assert_same_bits, make_trainer, weights_of

from featherlight.errors import TrainingStoppedError
from featherlight.training.checkpoint import CHECKPOINT_FILE, Progress, read_progress
from featherlight.training.extension import rewarmed


def accuracies(tmp_path: Path, **settings: object) -> list[float]:
    watcher = Watcher()
    make_trainer(tmp_path / "plain", watcher, **settings).fit()
    return [row["val_top1"] for row in watcher.rows]


def test_a_run_stops_after_the_epoch_that_reaches_its_target_and_keeps_its_weights(tmp_path):
    settings = {"epochs": 8, "learning_rate": 0.02}
    found = accuracies(tmp_path, **settings)
    target = max(found)
    reached = next(number for number, top1 in enumerate(found, 1) if top1 >= target)
    watcher = Watcher()
    trainer = make_trainer(tmp_path / "run", watcher, target=target, **settings)
    kept = trainer.fit()
    assert [row["epoch"] for row in watcher.rows] == list(range(1, reached + 1))
    assert watcher.rows[-1]["stopped"] == "target"
    assert all("stopped" not in row for row in watcher.rows[:-1])
    assert trainer.validate(kept).top1 == watcher.rows[-1]["val_top1"] >= target
    again = Watcher()
    assert_same_bits(
        weights_of(kept), weights_of(make_trainer(tmp_path / "run", again, target=target, **settings).fit())
    )
    assert again.rows == []


def test_a_target_stops_a_run_with_a_budget_of_time(tmp_path):
    watcher = Watcher()
    make_trainer(tmp_path, watcher, epochs=0, time_s=600.0, target=0.1).fit()
    assert [row.get("stopped") for row in watcher.rows] == ["target"]


def test_patience_counts_epochs_without_anything_better(tmp_path):
    watcher = Watcher()
    make_trainer(tmp_path, watcher, epochs=40, learning_rate=0.0, patience=3).fit()
    assert len(watcher.rows) == 4
    assert watcher.rows[-1]["stopped"] == "patience"


def test_patience_goes_on_counting_after_a_resume(tmp_path):
    settings = {"epochs": 40, "learning_rate": 0.0, "patience": 3}
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, Watcher(interrupt_at=12), **settings).fit()
    watcher = Watcher()
    make_trainer(tmp_path, watcher, **settings).fit()
    assert [row["epoch"] for row in watcher.rows] == [3, 4]


def test_a_finished_run_goes_on_to_its_new_length_and_anneals_again(tmp_path):
    make_trainer(tmp_path, epochs=3).fit()
    watcher = Watcher()
    trainer = make_trainer(tmp_path, watcher, epochs=8)
    trainer.fit()
    rates = [row["learning_rate"] for row in watcher.rows]
    assert [row["epoch"] for row in watcher.rows] == [4, 5, 6, 7, 8]
    assert max(rates) > 0.05 * 0.5
    assert rates[-1] < 0.05 * 0.02
    assert read_progress(tmp_path).leg_start == pytest.approx(3 / 8)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights after two epochs that became five without an interruption."""
    run = tmp_path_factory.mktemp("extended")
    make_trainer(run, epochs=2).fit()
    return weights_of(make_trainer(run, epochs=5).fit())


@pytest.mark.parametrize("step", [1, 6, 11])
def test_an_extended_run_that_is_interrupted_ends_in_the_same_bits(tmp_path, extended, step):
    make_trainer(tmp_path, epochs=2).fit()
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, Watcher(interrupt_at=step), epochs=5).fit()
    assert_same_bits(extended, weights_of(make_trainer(tmp_path, epochs=5).fit()))


def test_a_run_that_was_killed_right_after_its_extension_ends_in_the_same_bits(tmp_path, extended):
    make_trainer(tmp_path, epochs=2).fit()
    make_trainer(tmp_path, epochs=5)  # the recipe is changed, not one step is made
    assert_same_bits(extended, weights_of(make_trainer(tmp_path, epochs=5).fit()))


def test_an_unfinished_run_goes_on_under_a_longer_plan_from_its_present_rate(tmp_path):
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, Watcher(interrupt_at=12), epochs=3, checkpoint_every_s=0.0).fit()
    before = read_progress(tmp_path).factor
    rates: list[float] = []
    watcher = Watcher()
    trainer = make_trainer(tmp_path, watcher, epochs=15)
    watcher.step = lambda text, part: rates.append(trainer.learner.rate)  # type: ignore[method-assign]
    watcher.epoch = lambda row: None  # type: ignore[method-assign]
    trainer.fit()
    assert rates[0] == pytest.approx(0.05 * before)
    assert len(rates) == 75 - 12


def test_a_higher_target_takes_a_stopped_run_up_again(tmp_path):
    make_trainer(tmp_path, epochs=4, target=0.01).fit()
    assert read_progress(tmp_path).stopped == "target"
    watcher = Watcher()
    make_trainer(tmp_path, watcher, epochs=4, target=1.0).fit()
    assert watcher.rows[0]["epoch"] == 2


def test_the_rate_rises_from_where_it_was_to_the_curve():
    progress = Progress(leg_start=0.5, leg_factor=0.1)
    assert rewarmed(0.8, progress, 0.5) == pytest.approx(0.1)
    assert rewarmed(0.8, progress, 0.5125) == pytest.approx(0.45)
    assert rewarmed(0.8, progress, 0.525) == 0.8
    assert rewarmed(0.8, Progress(), 0.0) == 0.8


OLD_FIELDS = (
    "epoch", "batch", "step", "images_seen", "seconds", "loss_sum", "correct", "epoch_images", "best_top1",
    "validation_s", "finished",
)  # fmt: skip


def make_old(run: Path) -> None:
    """The checkpoint as the first version wrote it."""
    path = run / CHECKPOINT_FILE
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    progress = json.loads(metadata["progress"])
    kept = {name: progress[name] for name in OLD_FIELDS}
    save_file(tensors, path, {"progress": json.dumps(kept), "fingerprint": metadata["fingerprint"]})


def test_a_run_of_an_older_version_goes_on_to_the_same_bits(tmp_path):
    whole = weights_of(make_trainer(tmp_path / "whole").fit())
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path / "cut", Watcher(interrupt_at=8)).fit()
    make_old(tmp_path / "cut")
    assert_same_bits(whole, weights_of(make_trainer(tmp_path / "cut").fit()))


def test_a_finished_run_of_an_older_version_can_be_extended(tmp_path):
    make_trainer(tmp_path, epochs=2).fit()
    make_old(tmp_path)
    watcher = Watcher()
    make_trainer(tmp_path, watcher, epochs=2).fit()
    assert watcher.rows == []
    make_trainer(tmp_path, watcher, epochs=4).fit()
    assert [row["epoch"] for row in watcher.rows] == [3, 4]
