"""A network, trained in its run directory for as long as its recipe says: the part of a run before it is a model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx, nn

from featherlight.console import Bar, note
from featherlight.devices import select_device
from featherlight.errors import MemoryExhaustedError, UsageError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from featherlight.kernels.library import prepare_kernels
from featherlight.sources.base import Source, Unreadable
from featherlight.sources.reading import find_unreadable
from featherlight.training.checkpoint import CHECKPOINT_FILE, Origin
from featherlight.training.exactness import describe_machine, why_inexact
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe, write_recipe
from featherlight.training.shared_norms import unshare_norms
from featherlight.training.speed.settle import settle_speed
from featherlight.training.team import ALONE, Team
from featherlight.training.trainer import Trainer
from featherlight.training.validation import ValidationSet
from featherlight.workflows.evaluate import report_unreadable
from featherlight.workflows.observer import Observer
from featherlight.workflows.quantize_aware import settle_ranges, start_quantize_aware
from featherlight.workflows.starting_weights import build_network
from featherlight.workflows.teacher import open_teacher
from featherlight.workflows.together import settle_for_team
from featherlight.workflows.training_images import augmentation_of, load_training_images, weigh_classes


@dataclass(frozen=True)
class Fitted:
    """A network at the end of its run's length, not yet a model.

    Attributes:
        recipe: with everything settled.
        network: with the weights to keep.
        validation: images that it was measured on.
        origin: what the run depends on besides its recipe.
        seconds: of training, across resumes.
        unreadable: images that took no part.
    """

    recipe: Recipe
    network: nn.Module
    validation: ValidationSet
    origin: Origin
    seconds: float
    unreadable: tuple[Unreadable, ...]


def fit_recipe(run: Path, recipe: Recipe, source: Source, shown: Bar, team: Team = ALONE) -> Fitted:
    """Trains in a run directory until the recipe's length is reached, from its last checkpoint if it has one.

    Args:
        run: the run directory.
        recipe: of the run; its speed may still be open.
        source: the images.
        shown: where progress is seen.
        team: processes that train together; every one has to call, and one writes.

    Raises:
        DataError: not one image can be read.
        MemoryExhaustedError: the batch is too large.
        FeatherlightError: nothing can be written.
        TrainingStoppedError: interrupted or diverged; the last checkpoint is good.
    """
    device = select_device(recipe.device)
    preprocessing = preprocessing_of(recipe)
    augmentation = augmentation_of(recipe, len(source.classes))
    with _advice(recipe):
        is_new = team.share(not (run / CHECKPOINT_FILE).exists())
        if recipe.quantize_aware is None:
            network = build_network(recipe, len(source.classes), pretrained=is_new).to(device)
        else:
            network = start_quantize_aware(recipe, source.classes, preprocessing).to(device)
        teacher = open_teacher(recipe, source, device)
        with team.one_first():
            batches = load_training_images(source.splits["train"], preprocessing, augmentation, recipe)
            validation = ValidationSet(source.splits["val"], preprocessing, device, strict=recipe.strict, team=team)
        report_unreadable([*batches.unreadable, *validation.unreadable], strict=recipe.strict)
        if recipe.strict and "test" in source.splits:  # found after training it would be found too late
            report_unreadable(find_unreadable(source.splits["test"], preprocessing), strict=True)
        if isinstance(network, fx.GraphModule) and is_new:
            settle_ranges(network, batches, preprocessing)
        if recipe.kernels != "off" and recipe.speed != "plain" and device.type == "cpu":
            with team.one_first():
                prepare_kernels()
        started = time.monotonic()
        recipe = settle_for_team(recipe, network, team)
        recipe = team.decide(
            lambda: settle_speed(recipe, network, len(source.classes), len(batches), team.world), recipe
        )
        spent_s = time.monotonic() - started
        origin = Origin(
            source.fingerprint, teacher.fingerprint if teacher else "", describe_machine(device, recipe, team.world)
        )
        learner = Learner(network, recipe, preprocessing, augmentation, weigh_classes(recipe, source), teacher, team)
        with Observer(run, recipe, shown, writes=team.is_leader) as observer:
            trainer = Trainer(learner, batches, validation, run, origin, observer, spent_s)
            if reason := why_inexact(recipe, origin.machine, trainer.written_on):
                note(reason)
            if team.is_leader:
                write_recipe(run, recipe)  # not before the images and the checkpoint are known to be usable
            observer.open_log(trainer.progress.epoch)
            kept = trainer.fit()
            unshare_norms(kept)
    found = team.collect((*batches.unreadable, *validation.unreadable))
    unreadable = tuple(dict.fromkeys(image for images in found for image in images))
    return Fitted(recipe, kept, validation, origin, trainer.progress.seconds, unreadable)


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """How this recipe's model sees an image."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if recipe.in_channels == 3 else ((0.5,), (0.25,))
    return Preprocessing(recipe.input_size, recipe.resize, recipe.crop_fraction, recipe.mean or mean, recipe.std or std)


@contextlib.contextmanager
def _advice(recipe: Recipe) -> Iterator[None]:
    """Turns what PyTorch says of too large and too small batches into what to do about it."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(recipe) from error
    except RuntimeError as error:  # the CPU allocator has no class of its own
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(recipe) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise UsageError(
                "a batch of one image cannot be normalised; try in a new run: --set batch_size=2"
            ) from error
        raise


def _out_of_memory(recipe: Recipe) -> MemoryExhaustedError:
    smaller = max(1, recipe.batch_size // 2)
    return MemoryExhaustedError(
        f"out of memory with batch_size {recipe.batch_size}; try in a new run: --set batch_size={smaller}"
    )
