"""The training loop.

A step depends on the weights, the seed and its place in the run, on nothing else; with epochs ruling, a run that was
killed and taken up again ends in the same weights, bit for bit, as one that was left alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from featherlight.errors import FeatherlightError, TrainingStoppedError
from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation, mix_batch, random_seed_for
from featherlight.loading.batches import Batch, TrainBatches
from featherlight.models.engine import Normalizer
from featherlight.training.balance import weigh
from featherlight.training.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from featherlight.training.clock import Clock
from featherlight.training.loss import compute_losses
from featherlight.training.optimiser import build_average, build_optimizer, follow_schedule, update_average
from featherlight.training.recipe import Recipe
from featherlight.training.schedule import Place, find_place
from featherlight.training.signals import StopRequest

Row = dict[str, Any]


class Observer(Protocol):
    """Who is told how training goes."""

    def step(self, text: str, part_done: float) -> None:
        """After each step."""
        ...

    def epoch(self, row: Row) -> None:
        """After each epoch, with its row of metrics.jsonl."""
        ...


@dataclass(frozen=True)
class Validation:
    """Result of a pass over the validation images.

    Attributes:
        loss: mean cross-entropy.
        top1: accuracy, a fraction.
        macro_f1: mean F1 over the classes.
    """

    loss: float
    top1: float
    macro_f1: float


class Validator(Protocol):
    """Measures a network on the validation split."""

    def __len__(self) -> int:
        """Validation images."""
        ...

    def __call__(self, model: nn.Module) -> Validation:
        """One pass."""
        ...


class Trainer:
    """Trains one network by one recipe.

    Args:
        model: the network, freshly made from the recipe's seed, on the device.
        recipe: what to do.
        batches: training images.
        validate: measures a network on validation images.
        preprocessing: of the model.
        augmentation: of the training images; the batches have had all of it but mixing.
        run: the run directory.
        fingerprint: of the data.
        observer: is told how it goes.
        class_weights: how much each class counts in the loss, float32 (K,); None: all alike.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        batches: TrainBatches,
        validate: Validator,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        run: Path,
        fingerprint: str,
        observer: Observer,
        class_weights: Tensor | None = None,
    ) -> None:
        self.model, self.recipe, self.batches, self.validate = model, recipe, batches, validate
        self.normalize, self.augmentation = Normalizer(preprocessing), augmentation
        self.run, self.fingerprint, self.observer = run, fingerprint, observer
        self.device = next(model.parameters()).device
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self.optimizer = build_optimizer(model, recipe)
        self.average = build_average(model, recipe)
        self.progress, self.best = load_checkpoint(run, self._modules, self.optimizer, fingerprint)
        self.clock = Clock(recipe, len(batches), self.progress)
        self._saved_at = time.monotonic()
        self._seen_at_start, self._started_at = self.progress.images_seen, time.monotonic()

    @property
    def _modules(self) -> dict[str, nn.Module | None]:
        return {"model": self.model, "average": self.average}

    @property
    def averaged(self) -> nn.Module:
        """The network whose weights are validated and kept: the running mean where there is one."""
        return self.model if self.average is None else self.average.module

    def fit(self) -> nn.Module:
        """Trains to the end and returns the network to keep.

        Raises:
            TrainingStoppedError: interrupted or diverged; the last checkpoint is good.
        """
        with StopRequest() as stop:
            while not self.progress.finished:
                self._train_epoch(stop)
                self._close_epoch()
        if self.recipe.keep == "best":
            self.averaged.load_state_dict(self.best)
        if self.recipe.reestimate_norms:
            self._reestimate_norms()
        return self.averaged

    def _reestimate_norms(self) -> None:
        """The running statistics become the means over one more epoch, in which no weight changes."""
        torch.manual_seed(random_seed_for(self.recipe.seed, self.progress.step))
        with contextlib.closing(self.batches.epoch(self.progress.epoch)) as batches:
            update_bn((self.normalize(batch.images.to(self.device)) for batch in batches), self.averaged)

    def _train_epoch(self, stop: StopRequest) -> None:
        with contextlib.closing(self.batches.epoch(self.progress.epoch, self.progress.batch)) as batches:
            self._train_on(batches, stop)
        if self.progress.epoch_images == 0:
            raise FeatherlightError("not one training image could be read; see the messages above")

    def _train_on(self, batches: Iterable[Batch], stop: StopRequest) -> None:
        for batch in batches:
            self._train_step(batch)
            if self.progress.epoch == 0:  # a forward pass takes about a third of a step
                self.progress.validation_s = len(self.validate) / (3 * self._images_per_s())
            self.observer.step(self._status(), self.clock.part_done)
            if stop.requested:
                self._save()
                raise TrainingStoppedError(
                    f"interrupted; all is saved. Go on with: featherlight train --resume {self.run}"
                )
            if self.clock.part_done >= 1 and self.recipe.time_s > 0:
                break
            if time.monotonic() - self._saved_at >= self.recipe.checkpoint_every_s:
                self._save()

    def _train_step(self, batch: Batch) -> None:
        # Everything random in a step follows from the seed and the step's number, so nothing of it needs saving.
        torch.manual_seed(random_seed_for(self.recipe.seed, self.progress.step))
        place = find_place(self.recipe, self.clock.part_done, self.progress.step, len(self.batches))
        follow_schedule(self.optimizer, self.recipe, place)
        labels = batch.labels.to(self.device, non_blocking=True)
        images = self.normalize(batch.images.to(self.device, non_blocking=True))
        images, targets = mix_batch(images, labels, self.augmentation)
        if self.recipe.speed == "plain":
            images = images.contiguous()
        loss, logits = self._optimize(images, targets, batch.weights, place)
        self._count(batch, loss, int((logits.argmax(1) == labels).sum()))

    def _optimize(self, images: Tensor, targets: Tensor, weights: Tensor | None, place: Place) -> tuple[float, Tensor]:
        self.model.train()
        logits: Tensor = self.model(images)
        losses = compute_losses(logits, targets, self.recipe)
        loss = weigh(losses, targets, self.class_weights, None if weights is None else weights.to(self.device))
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingStoppedError(self._explain_divergence(value))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            update_average(self.average, self.model, self.recipe, self.progress.step, place)
        return value, logits.detach()

    def _count(self, batch: Batch, loss: float, correct: int) -> None:
        count = len(batch.labels)
        p = self.progress
        p.batch, p.step, p.images_seen = batch.number + 1, p.step + 1, p.images_seen + count
        p.loss_sum, p.correct, p.epoch_images = p.loss_sum + loss * count, p.correct + correct, p.epoch_images + count

    def _close_epoch(self) -> None:
        p = self.progress
        started = time.monotonic()
        validation = self.validate(self.averaged)
        p.validation_s = time.monotonic() - started
        if not math.isfinite(validation.loss):
            raise TrainingStoppedError(self._explain_divergence(validation.loss))
        row = self._row(validation)
        if self.recipe.keep == "best" and validation.top1 > p.best_top1:
            self.best = {name: value.detach().clone() for name, value in self.averaged.state_dict().items()}
        p.best_top1 = max(p.best_top1, validation.top1)
        p.epoch, p.batch, p.loss_sum, p.correct, p.epoch_images = p.epoch + 1, 0, 0.0, 0, 0
        p.finished = self.clock.part_done >= 1 if self.recipe.time_s > 0 else p.epoch >= self.recipe.epochs
        self.observer.epoch(row)
        self._save()

    def _row(self, validation: Validation) -> Row:
        p = self.progress
        return {
            "epoch": p.epoch + 1,
            "step": p.step,
            "images_seen": p.images_seen,
            "seconds": round(self.clock.seconds, 3),
            "images_per_s": round(self._images_per_s(), 1),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": p.loss_sum / p.epoch_images,
            "val_loss": validation.loss,
            "val_top1": validation.top1,
            "val_macro_f1": validation.macro_f1,
        }

    def _save(self) -> None:
        if not all(torch.isfinite(value).all() for value in self.model.state_dict().values()):
            raise TrainingStoppedError(self._explain_divergence(math.nan))
        self.progress.seconds = self.clock.seconds
        save_checkpoint(self.run, self._modules, self.optimizer, self.progress, self.best, self.fingerprint)
        self._saved_at = time.monotonic()

    def _images_per_s(self) -> float:
        """Since this process began, validation included: what the person gets."""
        return (self.progress.images_seen - self._seen_at_start) / max(1e-9, time.monotonic() - self._started_at)

    def _status(self) -> str:
        p = self.progress
        left = round(self.clock.seconds_left)
        return (
            f"epoch {p.epoch + 1}  loss {p.loss_sum / p.epoch_images:.3f}  accuracy {p.correct / p.epoch_images:.1%}  "
            f"{self._images_per_s():.0f} images/s  {left // 60}:{left % 60:02} left"
        )

    @property
    def _has_checkpoint(self) -> bool:
        return (self.run / CHECKPOINT_FILE).exists()

    def _explain_divergence(self, value: float) -> str:
        rate = self.optimizer.param_groups[0]["lr"]
        kept = f"The last good checkpoint is {self.run / CHECKPOINT_FILE}. " if self._has_checkpoint else ""
        return (
            f"training diverged: the loss became {value} in epoch {self.progress.epoch + 1}, step {self.progress.step} "
            f"(learning rate {rate:.2g}). {kept}"
            f"Try a third of the rate in a new run: --set learning_rate={self.recipe.learning_rate / 3:.2g}"
        )
