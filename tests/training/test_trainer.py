from __future__ import annotations

import os
import signal
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from featherlight.errors import ModelFileError, TrainingStoppedError
from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import MemoryBatches
from featherlight.models.engine import infer, normalized
from featherlight.models.registry import create_model
from featherlight.training.checkpoint import CHECKPOINT_FILE, Origin
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.trainer import Trainer, Validation

AUGMENTATION = Augmentation(16, "pad", True, False, 0.2, 0.0, 2)
PREPROCESSING = Preprocessing(16, crop_fraction=1.0)


def colour_images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise that is a little redder for class 0 and a little bluer for class 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 200, (count, 16, 16, 3), generator=generator)
    images[labels == 0, :, :, 0] += 40
    images[labels == 1, :, :, 2] += 40
    return images.to(torch.uint8), labels


class ColourValidation:
    def __init__(self) -> None:
        self.images, self.labels = colour_images(20, seed=1)

    def __len__(self) -> int:
        return 20

    def part(self, count: int) -> ColourValidation:
        part = ColourValidation()
        part.images, part.labels = self.images[:count], self.labels[:count]
        return part

    def __call__(self, model: torch.nn.Module) -> Validation:
        logits = infer(model, normalized(self.images, PREPROCESSING))
        loss = torch.nn.functional.cross_entropy(logits, self.labels)
        return Validation(loss.item(), (logits.argmax(1) == self.labels).float().mean().item(), 0.5)


@dataclass
class Watcher:
    """Keeps the rows, and can interrupt the process at a step, as a person would."""

    interrupt_at: int | None = None
    signal: int = signal.SIGINT
    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0

    def step(self, text: str, part_done: float) -> None:
        self.steps += 1
        if self.steps == self.interrupt_at:
            os.kill(os.getpid(), self.signal)

    def epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def tiny_network(dropout: float) -> nn.Module:
    """All kinds of layers that the trainer has to do with, as few of each as there can be."""
    layers = OrderedDict(
        conv1=nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        conv2=nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        conv3=nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)),
        fc=nn.Linear(16, 2),
    )
    return nn.Sequential(layers)


def make_trainer(
    run: Path,
    watcher: Watcher | None = None,
    fingerprint: str = "f",
    network: str = "tiny",
    **settings: Any,
) -> Trainer:
    defaults = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "ema_decay": 0.9,
        "input_size": 16,
        "stem": "cifar",
        "dropout": 0.2,
    }
    recipe = Recipe("colours", **{**defaults, **settings})
    torch.manual_seed(recipe.seed)
    if network == "tiny":
        model = tiny_network(recipe.dropout or 0.0)
    else:
        model = create_model(network, 2, input_size=16, dropout=recipe.dropout)
    model = model.to(memory_format=torch.channels_last)
    images, labels = colour_images(40, seed=0)
    batches = MemoryBatches(images, labels, AUGMENTATION, recipe.batch_size, recipe.seed, [])
    learner = Learner(model, recipe, PREPROCESSING, AUGMENTATION)
    return Trainer(learner, batches, ColourValidation(), run, Origin(fingerprint), watcher or Watcher())


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_training_learns(tmp_path):
    watcher = Watcher()
    make_trainer(tmp_path, watcher, epochs=25, learning_rate=0.02).fit()
    assert watcher.rows[-1]["val_top1"] >= 0.9
    assert watcher.rows[-1]["train_loss"] < watcher.rows[0]["train_loss"]


def test_rows_count_steps_and_images(tmp_path):
    watcher = Watcher()
    make_trainer(tmp_path, watcher).fit()
    assert [(row["epoch"], row["step"], row["images_seen"]) for row in watcher.rows] == [
        (1, 5, 40),
        (2, 10, 80),
        (3, 15, 120),
    ]
    assert all(
        earlier["seconds"] < later["seconds"] for earlier, later in zip(watcher.rows, watcher.rows[1:], strict=False)
    )


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path):
    first = weights_of(make_trainer(tmp_path / "a").fit())
    assert_same_bits(first, weights_of(make_trainer(tmp_path / "b").fit()))
    other = weights_of(make_trainer(tmp_path / "c", seed=1).fit())
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 5, 8])
def test_interrupted_and_resumed_ends_in_the_same_bits(tmp_path, whole_run, optimizer, number, step):
    settings = {"optimizer": optimizer, "learning_rate": 0.01}
    with pytest.raises(TrainingStoppedError, match="--resume"):
        make_trainer(tmp_path, Watcher(interrupt_at=step, signal=number), **settings).fit()
    trainer = make_trainer(tmp_path, **settings)
    assert trainer.progress.step == step
    assert_same_bits(whole_run(**settings), weights_of(trainer.fit()))


def test_a_whole_network_interrupted_and_resumed_ends_in_the_same_bits(tmp_path, whole_run):
    settings = {"network": "mobilenet_v1_x0_25", "epochs": 2}
    with pytest.raises(TrainingStoppedError, match="--resume"):
        make_trainer(tmp_path, Watcher(interrupt_at=7), **settings).fit()
    assert_same_bits(whole_run(**settings), weights_of(make_trainer(tmp_path, **settings).fit()))


def test_the_best_epoch_is_kept_when_asked_for_even_across_a_resume(tmp_path):
    watcher = Watcher(interrupt_at=20)
    with pytest.raises(TrainingStoppedError):
        make_trainer(tmp_path, watcher, epochs=6, keep="best", learning_rate=0.3).fit()
    after = Watcher()
    kept = make_trainer(tmp_path, after, epochs=6, keep="best", learning_rate=0.3).fit()
    best = max(row["val_top1"] for row in watcher.rows + after.rows)
    assert ColourValidation()(kept).top1 == pytest.approx(best)


def test_divergence_is_explained_and_keeps_the_last_good_checkpoint(tmp_path):
    settings = {"learning_rate": 1000.0, "weight_decay": 10.0, "epochs": 50, "checkpoint_every_s": 0.0}
    with pytest.raises(TrainingStoppedError, match=r"diverged.*last good checkpoint.*--set learning_rate=3\.3e\+02"):
        make_trainer(tmp_path, **settings).fit()
    trainer = make_trainer(tmp_path, **settings)
    assert trainer.progress.step > 0
    assert all(torch.isfinite(value).all() for value in trainer.learner.model.state_dict().values())


def test_a_finished_run_is_not_trained_further(tmp_path):
    kept = weights_of(make_trainer(tmp_path).fit())
    watcher = Watcher()
    assert_same_bits(kept, weights_of(make_trainer(tmp_path, watcher).fit()))
    assert watcher.steps == 0


def test_a_budget_of_time_ends_the_run_with_the_rate_at_its_end(tmp_path):
    watcher = Watcher()
    trainer = make_trainer(tmp_path, watcher, epochs=0, time_s=3.0)
    trainer.fit()
    assert watcher.rows[-1]["learning_rate"] < 0.05 * 1e-2
    assert trainer.progress.finished


def test_other_images_cannot_be_trained_on_after_a_resume(tmp_path):
    make_trainer(tmp_path).fit()
    with pytest.raises(ModelFileError, match="images have changed"):
        make_trainer(tmp_path, fingerprint="other")


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_damaged_checkpoint_is_an_error(tmp_path, cut):
    make_trainer(tmp_path).fit()
    file = tmp_path / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ModelFileError, match="damaged checkpoint"):
        make_trainer(tmp_path)


def test_a_checkpoint_of_another_network_is_an_error(tmp_path):
    make_trainer(tmp_path).fit()
    with pytest.raises(ModelFileError, match="does not fit"):
        make_trainer(tmp_path, network="mobilenet_v1_x0_5")
