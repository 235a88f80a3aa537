"""The training loop.

A step depends on the weights, the seed and its place in the run, on nothing else; with epochs ruling, a run that was
killed and taken up again ends in the same weights, bit for bit, as one that was left alone. With a budget of time, how
many steps there are depends on the machine.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from featherlight.errors import DataError, FeatherlightError, TrainingInterruptedError, TrainingStoppedError
from featherlight.loading.augment import random_seed_for
from featherlight.loading.batches import Batch, TrainBatches
from featherlight.training.checkpoint import CHECKPOINT_FILE, Origin, Progress, Stored, load_checkpoint, save_checkpoint
from featherlight.training.clock import Clock, SharedClock
from featherlight.training.extension import has_reached, reopen, rewarmed
from featherlight.training.growth import side_at
from featherlight.training.learner import Learner
from featherlight.training.optimiser import set_momentum, set_rate
from featherlight.training.schedule import find_place, rate_factor
from featherlight.training.signals import StopRequest
from featherlight.training.speed import plan_threads

SAVING_SHARE = 0.02  # of the time that checkpoints may take at the end of epochs
TRIAL_AFTER_STEPS = 4  # the first are never typical
TRIAL_FROM = 0.01  # of the budget; a validation that takes less needs no exact forecast
TRIAL_IMAGES = 256

Row = dict[str, Any]


class Observer(Protocol):
    """Who is told how training goes."""

    def step(self, text: str, part_done: float) -> None:
        """After each step."""
        ...

    def epoch(self, row: Row) -> None:
        """After each validation, with its row of metrics.jsonl."""
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

    def part(self, count: int) -> Validator:
        """The first images only, to see how long a pass takes."""
        ...


class Trainer:
    """Trains one network by one recipe.

    Args:
        learner: the network, freshly made from the recipe's seed, and its optimiser.
        batches: training images.
        validate: measures a network on validation images.
        run: the run directory; None: nothing is written, and the run cannot be taken up again.
        origin: what the run depends on besides its recipe.
        observer: is told how it goes.
        spent_s: seconds that the preparation of a new run has taken; they count like those of training.

    Raises:
        ModelFileError: the run has a checkpoint that is damaged or does not fit.
    """

    def __init__(
        self,
        learner: Learner,
        batches: TrainBatches,
        validate: Validator,
        run: Path | None,
        origin: Origin,
        observer: Observer,
        spent_s: float = 0.0,
    ) -> None:
        self.learner, self.recipe, self.batches, self.validate = learner, learner.recipe, batches, validate
        self.run, self.origin, self.observer, self.team = run, origin, observer, learner.team
        stored = Stored(Progress())
        if run is not None:
            stored = load_checkpoint(run, learner.modules, learner.optimizer, origin)
        self.progress, self.best, self.written_on = stored.progress, stored.best, stored.machine
        if self.progress.batches == 0:
            self.progress.seconds += spent_s
        learner.restore_gradients(stored.gradients, self.progress.gathered)
        self.team.copy_from_leader(learner.state)  # machines may draw fresh weights differently
        self._waiting = self.progress.gathered > 0
        self._updates = math.ceil(len(batches) / self.recipe.accumulate)  # in an epoch
        clock = Clock if self.team.is_alone else partial(SharedClock, self.team)
        self.clock = clock(self.recipe, self._updates, self.progress)
        reopen(self.progress, self.recipe, self.clock.part_done)
        self._saved_at = time.monotonic()
        self._seen_at_start, self._started_at = self.progress.images_seen, time.monotonic()

    def fit(self) -> nn.Module:
        """Trains to the end and returns the network to keep.

        Raises:
            TrainingStoppedError: interrupted or diverged; the last checkpoint is good.
        """
        with StopRequest() as stop, plan_threads(self.learner.computed.plan):
            while not self.progress.finished:
                self._train_epoch(stop)
                self._close_epoch()
        if self.recipe.keep == "best" and self.best:
            self.learner.averaged.load_state_dict(self.best)
        if self.recipe.reestimate_norms:
            seed = random_seed_for(self.recipe.seed, self.progress.batches)
            with contextlib.closing(self.batches.epoch(self.progress.epoch)) as batches:
                self.learner.reestimate_norms(batches, seed)
        return self.learner.averaged

    def _train_epoch(self, stop: StopRequest) -> None:
        self.learner.freeze(self.progress.epoch)
        with contextlib.closing(self.batches.epoch(self.progress.epoch, self.progress.batch)) as batches:
            self._train_on(self._numbered(batches), stop)
        if self.progress.epoch_images == 0:
            raise FeatherlightError("not one training image could be read; see the messages above")

    def _numbered(self, batches: Iterator[Batch]) -> Iterator[tuple[int, Batch | None]]:
        """Batches with their numbers; in a team also those of which this process can read no image."""
        expected = self.progress.batch
        for batch in batches:
            while expected < batch.number and not self.team.is_alone:
                yield expected, None
                expected += 1
            yield batch.number, batch
            expected = batch.number + 1
        for number in range(expected, 0 if self.team.is_alone else len(self.batches)):
            yield number, None

    def _train_on(self, batches: Iterator[tuple[int, Batch | None]], stop: StopRequest) -> None:
        for number, batch in batches:
            self.clock.begin_step()
            stopped = self._train_step(number, batch, wanted=stop.requested)
            self.clock.end_step(0.0 if batch is None else len(batch.labels) * self._part_of_work(batch))
            self.observer.step(self._status(), self.clock.part_done)
            if self._may_save and (stopped or (self.team.is_alone and stop.requested)):
                raise TrainingInterruptedError(self._interrupted())
            if self.clock.is_over:
                break
            self._expect_validation()
            if self._is_due(within_epoch=True):
                self._save()
        if self._waiting:  # the last group of an epoch may be short
            self._update()

    def _train_step(self, number: int, batch: Batch | None, *, wanted: bool) -> bool:
        """One batch, and the update if it is its turn; whether any process is asked to stop."""
        p = self.progress
        loss_sum, correct, count, stopped = self.team.total(*self._gather(number, batch), float(wanted))
        if not math.isfinite(loss_sum):
            raise TrainingStoppedError(self._explain_divergence(loss_sum))
        p.batch, p.batches, p.images_seen = number + 1, p.batches + 1, p.images_seen + int(count)
        p.loss_sum, p.correct = p.loss_sum + loss_sum, p.correct + int(correct)
        p.epoch_images += int(count)
        self._waiting = True
        if p.batch % self.recipe.accumulate == 0:
            self._update()
        return stopped > 0

    def _gather(self, number: int, batch: Batch | None) -> tuple[float, float, float]:
        """Sum of losses, images recognised, and images, of this process."""
        if batch is None:
            if self.recipe.sync_norms:
                raise DataError(
                    f"no image of a process's share of batch {number + 1} can be read; find them with: "
                    "featherlight check"
                )
            self.learner.miss()
            return 0.0, 0.0, 0.0
        own = () if self.team.is_alone else (self.team.rank,)  # processes must not draw alike
        seed = random_seed_for(self.recipe.seed, self.progress.batches, *own)
        loss, correct = self.learner.gather(batch, seed, self._side(batch))
        return loss * len(batch.labels), float(correct), float(len(batch.labels))

    def _part_of_work(self, batch: Batch) -> float:
        return float((self._side(batch) / batch.images.shape[2]) ** 2)

    @property
    def _may_save(self) -> bool:
        """Gradients that wait for their update are saved by a process that is alone; in a team each has its own."""
        return self.team.is_alone or not self._waiting

    def _side(self, batch: Batch) -> int:
        return side_at(batch.images.shape[2], self.recipe.grow, self.clock.part_done)

    def _update(self) -> None:
        p, part_done = self.progress, self.clock.part_done
        place = find_place(self.recipe, part_done, p.step, self._updates)
        p.factor = rewarmed(rate_factor(self.recipe, place), p, part_done)
        set_rate(self.learner.optimizer, self.recipe.learning_rate * p.factor)
        set_momentum(self.learner.optimizer, self.recipe, place)
        self.learner.update(p.step, place)
        p.step += 1
        self._waiting = False

    def _expect_validation(self) -> None:
        """With a budget of time, finds out early how long a validation takes: the first may be the last."""
        p, clock = self.progress, self.clock
        if not clock.rules or p.validation_s > 0 or p.batches < TRIAL_AFTER_STEPS:
            return
        p.validation_image_s = clock.image_s
        p.validation_s = self.team.share(self._try_validation(TRIAL_IMAGES // 8))  # the first is never typical
        if p.validation_s > TRIAL_FROM * self.recipe.time_s:
            p.validation_s = self.team.share(self._try_validation(TRIAL_IMAGES))
        clock.pause_over()

    def _try_validation(self, images: int) -> float:
        """How long a whole validation will take, judged by some images."""
        count, started = min(images, len(self.validate)), time.monotonic()
        self.validate.part(count)(self.learner.averaged)
        return (time.monotonic() - started) * len(self.validate) / max(1, count)

    def _close_epoch(self) -> None:
        p = self.progress
        validated = self.clock.may_validate  # if not, these images are counted with those of the next epoch
        row = self._row(self._validate()) if validated else {}
        p.epoch, p.batch = p.epoch + 1, 0
        if not validated:
            return
        p.loss_sum, p.correct, p.epoch_images = 0.0, 0, 0
        p.stopped = self._reason_to_stop()
        p.finished = bool(p.stopped) or (self.clock.is_over if self.clock.rules else p.epoch >= self.recipe.epochs)
        with self._kept_explained():
            self.observer.epoch(row | ({"stopped": p.stopped} if p.stopped else {}))
        if p.finished or self._is_due(within_epoch=False):
            self._save()
        self.clock.pause_over()

    def _validate(self) -> Validation:
        p, averaged = self.progress, self.learner.averaged
        started = time.monotonic()
        found = self.validate(averaged)
        p.validation_s, p.validation_image_s = time.monotonic() - started, self.clock.image_s
        p.validating_s += p.validation_s
        if not math.isfinite(found.loss):
            raise TrainingStoppedError(self._explain_divergence(found.loss))
        p.stale = 0 if found.top1 > p.best_top1 else p.stale + 1
        if self.recipe.keep == "best" and found.top1 > p.best_top1:
            self.best = {name: value.detach().clone() for name, value in averaged.state_dict().items()}
        p.last_top1, p.best_top1 = found.top1, max(p.best_top1, found.top1)
        return found

    def _reason_to_stop(self) -> str:
        if has_reached(self.progress.last_top1, self.recipe):
            return "target"
        return "patience" if 0 < self.recipe.patience <= self.progress.stale else ""

    def _row(self, validation: Validation) -> Row:
        p = self.progress
        return {
            "epoch": p.epoch + 1,
            "step": p.step,
            "images_seen": p.images_seen,
            "seconds": round(self.clock.seconds, 3),
            "images_per_s": round(self._images_per_s(), 1),
            "learning_rate": self.learner.rate,
            "train_loss": p.loss_sum / p.epoch_images,
            "val_loss": validation.loss,
            "val_top1": validation.top1,
            "val_macro_f1": validation.macro_f1,
        }

    def _is_due(self, *, within_epoch: bool) -> bool:
        """Whether to write a checkpoint: often enough, and never for more than a small part of the time."""
        if self.run is None or not self.team.is_leader or not self._may_save:
            return False
        since, every = time.monotonic() - self._saved_at, self.recipe.checkpoint_every_s
        cheap = self.progress.save_s / SAVING_SHARE
        if within_epoch:
            return since >= (max(every, cheap) if every > 0 else 0)
        return since >= min(every, cheap)

    def _save(self) -> None:
        if self.run is None or not self.team.is_leader:
            return
        p, learner = self.progress, self.learner
        if not all(torch.isfinite(value).all() for value in learner.model.state_dict().values()):
            raise TrainingStoppedError(self._explain_divergence(math.nan))
        started = time.monotonic()
        p.seconds, p.gathered = self.clock.seconds, learner.gathered
        stored = Stored(p, self.best, learner.waiting_gradients())
        with self._kept_explained():
            save_checkpoint(self.run, learner.modules, learner.optimizer, stored, self.origin)
        self._saved_at = time.monotonic()
        p.save_s = self._saved_at - started

    def _interrupted(self) -> str:
        self._save()
        if self.run is None:
            return "interrupted"
        return f"interrupted; all is saved. Go on with: featherlight train --resume {self.run}"

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
    def _checkpoint(self) -> Path | None:
        path = None if self.run is None else self.run / CHECKPOINT_FILE
        return path if path is not None and path.exists() else None

    @contextlib.contextmanager
    def _kept_explained(self) -> Iterator[None]:
        """Says with a full disk what is saved."""
        try:
            yield
        except FeatherlightError as error:
            kept = "The last checkpoint is whole" if self._checkpoint is not None else "Nothing is saved yet"
            raise FeatherlightError(
                f"{error}. {kept}; when this is mended, go on with: featherlight train --resume {self.run}"
            ) from error

    def _explain_divergence(self, value: float) -> str:
        kept = f"The last good checkpoint is {self._checkpoint}. " if self._checkpoint is not None else ""
        return (
            f"training diverged: the loss became {value} in epoch {self.progress.epoch + 1}, step {self.progress.step} "
            f"(learning rate {self.learner.rate:.2g}). {kept}"
            f"Try a third of the rate in a new run: --set learning_rate={self.recipe.learning_rate / 3:.2g}"
        )
