"""Images -> batches -> training -> model file -> evaluation: the main job."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from featherlight.console import bar, duration, note
from featherlight.devices import select_device
from featherlight.engines import open_engine
from featherlight.errors import FeatherlightError, TrainingStoppedError, UnreadableImageError, UsageError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from featherlight.metrics import Evaluation, fit_temperature
from featherlight.model_file import MODEL_FILE_NAME
from featherlight.models.weights import save_model
from featherlight.report import write_curves
from featherlight.sources import open_source
from featherlight.sources.base import Source, Unreadable, sample
from featherlight.sources.reading import find_unreadable
from featherlight.training.checkpoint import CHECKPOINT_FILE
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import RECIPE_FILE_NAME, Recipe, read_duration, read_field, read_recipe, write_recipe
from featherlight.training.trainer import Row, Trainer
from featherlight.training.validation import ValidationSet
from featherlight.workflows.evaluate import choose_split, evaluate_split, report_unreadable, write_evaluation
from featherlight.workflows.leaks import refuse_leaks
from featherlight.workflows.observer import Observer, show_plan
from featherlight.workflows.quantize_aware import (
    float_network,
    quantization_facts,
    settle_ranges,
    start_quantize_aware,
)
from featherlight.workflows.run_directory import check_place, new_run_directory, refuse_taken
from featherlight.workflows.starting_weights import build_network, settle_pretrained
from featherlight.workflows.training_images import augmentation_of, load_training_images, weigh_classes

SIZES_SAMPLED = 64


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        path: the run directory.
        model_path: the model file in it.
        metrics: the last row of ``metrics.jsonl``, and of the evaluation ``split``, ``num_images``, ``top1``, ``top5``,
            ``loss``, ``macro_precision``, ``macro_recall``, ``macro_f1``.
    """

    path: Path
    model_path: Path
    metrics: dict[str, Any]


def train(
    data: str | Path = "digits",
    model: str | None = None,
    *,
    time: str | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Trains a light network on images, evaluates it and writes a run directory.

    Args:
        data: folder of images or a known name (``digits``, ``cifar10``, ``cifar100``).
        model: network name.
        time: train for this long instead of a number of epochs: ``90s``, ``15m``, ``2h``.
        out: the run directory; by default a new one under ``runs/``.
        settings: any field of the recipe; see :class:`featherlight.training.recipe.Recipe`.

    Raises:
        UsageError: an unknown field, an unfit value, or ``out`` is not empty.
        DataError: no usable images.
        DownloadError: pretrained weights were asked for by name and cannot be fetched.
        TrainingStoppedError: interrupted or diverged; what was reached is saved.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    if model is not None:
        settings["model"] = model
    if time is not None:
        settings["time_s"] = read_duration(time)
    if isinstance(settings.get("pretrained"), bool):  # as create_model takes it
        settings["pretrained"] = "auto" if settings["pretrained"] else "none"
    refuse_taken(out)
    strict, allow_leaks = (read_field(name, settings.get(name, False)) for name in ("strict", "allow_leaks"))
    source = open_source(data, strict=strict, group_by=settings.get("group_by"))
    check_place(out, source)
    refuse_leaks(source, allow=allow_leaks)
    recipe = default_recipe(facts_of(source), settings)
    build_network(recipe, len(source.classes), pretrained=False)  # a wrong name fails before anything is written
    select_device(recipe.device)
    recipe = settle_pretrained(recipe)
    with new_run_directory(out, str(data), str(settings.get("model", ""))) as run, _interrupt_explained(run):
        return _run_recipe(run, recipe, source)


def resume(run: str | Path) -> Run:
    """Goes on with a run that was interrupted.

    Raises:
        UsageError: no run directory.
        ModelFileError: its checkpoint is damaged or belongs to other images.
        TrainingStoppedError: interrupted again, or diverged.
    """
    path = Path(run)
    recipe = read_recipe(path)
    with _interrupt_explained(path):
        source = open_source(recipe.data, strict=recipe.strict, group_by=recipe.group_by)
        return _run_recipe(path, recipe, source)


def _run_recipe(run: Path, recipe: Recipe, source: Source) -> Run:
    report_unreadable(source.unreadable, strict=recipe.strict)
    show_plan(run, recipe, source)
    device = select_device(recipe.device)
    preprocessing = preprocessing_of(recipe)
    augmentation = augmentation_of(recipe, len(source.classes))
    with _advice(recipe):
        is_new = not (run / CHECKPOINT_FILE).exists()
        if recipe.quantize_aware is None:
            network = build_network(recipe, len(source.classes), pretrained=is_new).to(device)
        else:
            network = start_quantize_aware(recipe, source.classes, preprocessing).to(device)
        if recipe.speed == "auto":
            network = network.to(memory_format=torch.channels_last)
        batches = load_training_images(source.splits["train"], preprocessing, augmentation, recipe)
        validation = ValidationSet(source.splits["val"], preprocessing, device, strict=recipe.strict)
        report_unreadable([*batches.unreadable, *validation.unreadable], strict=recipe.strict)
        if recipe.strict and "test" in source.splits:  # found after training it would be found too late
            report_unreadable(find_unreadable(source.splits["test"], preprocessing), strict=True)
        if isinstance(network, fx.GraphModule) and is_new:
            settle_ranges(network, batches, preprocessing)
        write_recipe(run, recipe)  # not before the images are known to be usable
        with bar("training") as shown, Observer(run, shown) as observer:
            trainer = Trainer(
                network, recipe, batches, validation, preprocessing, augmentation, run, source.fingerprint, observer,
                weigh_classes(recipe, source),
            )  # fmt: skip
            observer.open_log(trainer.progress.epoch)
            kept = trainer.fit()
    note(f"trained in {duration(trainer.progress.seconds)}")
    temperature = fit_temperature(*validation.logits(kept))
    result, unreadable = _finish(run, recipe, source, kept, temperature)
    _count_unreadable({*source.unreadable, *batches.unreadable, *validation.unreadable, *unreadable})
    return result


def _finish(
    run: Path, recipe: Recipe, source: Source, network: nn.Module, temperature: float
) -> tuple[Run, list[Unreadable]]:
    """Writes the model and what it reaches; also returns the images that could not be read in doing so."""
    history = read_metrics(run)
    row = _row_of_kept_weights(history, recipe)
    provenance: dict[str, Any] = {
        "data": recipe.data,
        "fingerprint": source.fingerprint,
        "recipe": recipe.to_dict(),
        "metrics": row,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    if isinstance(network, fx.GraphModule):
        provenance["quantization"] = quantization_facts(network)
        network = float_network(recipe, network)
    path = save_model(
        network,
        run / MODEL_FILE_NAME,
        source.classes,
        preprocessing_of(recipe),
        temperature=temperature,
        provenance=provenance,
    )
    split = choose_split(source, None)
    evaluation, mistakes = evaluate_split(open_engine(path, "torch", recipe.device), source, split, recipe.model)
    write_curves(run / "curves.png", history)
    command = reproduce_command(recipe, source)
    write_evaluation(run, evaluation, mistakes, history=history, recipe=recipe.to_dict(), reproduce=command)
    unreadable = [(file, reason) for file, reason in evaluation.unreadable]
    last = history[-1] if history else {}
    return Run(run, path, {**last, **_headline(evaluation)}), unreadable


def _row_of_kept_weights(history: list[Row], recipe: Recipe) -> Row:
    if not history:  # somebody removed metrics.jsonl; the weights are still good
        return {}
    return max(history, key=lambda row: float(row["val_top1"])) if recipe.keep == "best" else history[-1]


def _count_unreadable(unreadable: set[Unreadable]) -> None:
    if unreadable:
        note(f"{len(unreadable)} of the images could not be read and took no part; they are named above")


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    names = ("split", "top1", "top5", "loss", "macro_precision", "macro_recall", "macro_f1", "num_images")
    return {name: getattr(evaluation, name) for name in names}


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """How this recipe's model sees an image."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if recipe.in_channels == 3 else ((0.5,), (0.25,))
    return Preprocessing(recipe.input_size, recipe.resize, recipe.crop_fraction, mean, std)


def reproduce_command(recipe: Recipe, source: Source) -> str:
    """The command that makes this run again."""
    basic = {"model": recipe.model, "epochs": recipe.epochs, "time_s": recipe.time_s, "seed": recipe.seed}
    fixed = {name: value for name, value in basic.items() if value}
    wanted, changed = recipe.to_dict(), dict[str, Any]()
    # A field that is set moves the defaults of others, so those are compared again.
    while different := _differences(wanted, default_recipe(facts_of(source), {**fixed, **changed}).to_dict()):
        changed |= different
    length = f"--time {recipe.time_s:.3f}s" if recipe.time_s else f"--epochs {recipe.epochs}"
    settings = [
        f"--set {name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in changed.items()
    ]
    start = f"featherlight train {shlex.quote(recipe.data)} --model {recipe.model} {length} --seed {recipe.seed}"
    return " ".join([start, *settings])


def _differences(wanted: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "data" and usual.get(name) != value}


def facts_of(source: Source) -> DataFacts:
    """What the default recipe depends on."""
    split = source.splits["train"]
    sides = []
    for index in sample(split, SIZES_SAMPLED):
        with contextlib.suppress(UnreadableImageError):  # it is reported when all images are read
            sides.append(min(split.read(index).shape[:2]))
    return DataFacts(source.name, len(split), int(np.median(sides)) if sides else 224, source.flip_safe)


@contextlib.contextmanager
def _interrupt_explained(run: Path) -> Iterator[None]:
    """Ctrl-C before the first step or after the last; in between the trainer handles it."""
    try:
        yield
    except KeyboardInterrupt:
        begun = (run / RECIPE_FILE_NAME).exists()
        what = f"go on with: featherlight train --resume {run}" if begun else "training had not begun, nothing is saved"
        raise TrainingStoppedError(f"interrupted; {what}") from None


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


def _out_of_memory(recipe: Recipe) -> FeatherlightError:
    smaller = max(1, recipe.batch_size // 2)
    return FeatherlightError(
        f"out of memory with batch_size {recipe.batch_size}; try in a new run: --set batch_size={smaller}"
    )
