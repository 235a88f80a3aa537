"""Several models -> the same images: whose answers are better, whether that is real, and what each costs."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from featherlight.comparison import Answers, ComparedModel, Comparison, compare_pairs, explain_comparison
from featherlight.console import note
from featherlight.cost.count import count_cost
from featherlight.cost.latency import (
    Latency,
    check_threads,
    machine_name,
    measure_latencies,
    torch_threads,
    usable_cores,
)
from featherlight.engines import Engine
from featherlight.engines.base import ENGINES_OF_SUFFIX
from featherlight.errors import FeatherlightError, UnreadableImageError, UsageError
from featherlight.files import write_text
from featherlight.metrics import Evaluation
from featherlight.model_file import EXPORTED_SUFFIXES, ModelCard, find_model_file
from featherlight.models.registry import create_model
from featherlight.phrases import counted, phrase
from featherlight.report import check_language
from featherlight.report.compare_page import MAX_PICTURED, write_compare_page, write_training_curves
from featherlight.sources import KNOWN_NAMES
from featherlight.sources.base import RGBImage
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import RECIPE_FILE_NAME
from featherlight.workflows.benchmark_subject import Subject, forward_call, open_subject
from featherlight.workflows.benchmark_subjects import Wish, prepare_subjects
from featherlight.workflows.compare_answers import Asked, ask_all
from featherlight.workflows.compare_images import SharedImages, find_shared_images

LATENCY_S = 2.0  # for each model
COMPARISON_FILE_NAME = "compare.json"
PAGE_FILE_NAME = "compare.html"
CURVES_FILE_NAME = "curves.png"


@dataclass(frozen=True)
class _Opened:
    """A model, ready to be asked and timed."""

    model: str  # as the person named it
    name: str
    subject: Subject
    engine: Engine


def compare(
    models: Sequence[str | Path],
    data: str | Path | None = None,
    *,
    split: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    latency_s: float = LATENCY_S,
    out: str | Path | None = None,
    lang: str = "en",
) -> Comparison:
    """Compares models on the same images: accuracy, calibration, size and speed, and whether differences are real.

    Model files and exported files mix. Classes are matched by name. Everything is computed on the processor.

    Args:
        models: at least two run directories, model files, exported files or folders.
        data: images; by default those that all models were trained on.
        split: ``test``, ``val``, ``train`` or ``all``; by default test if there is one, else val. Of data that a model
            was trained on, only held-out images are used unless a split is named.
        engine: runtime; by default each file's own. For another, model files are exported first.
        threads: that each computes with; by default all cores of this process.
        latency_s: seconds to measure each model's latency, about; 0: latency is left out.
        out: folder for ``compare.json``, ``compare.html`` and, of runs, ``curves.png``.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        UsageError: fewer than two models, one of them twice, or no data that suits all of them.
        ModelFileError: no usable model file.
        DataError: no usable images, or a class that a model does not know.
        MissingExtraError: a runtime that is needed is not installed.
    """
    named = [str(model) for model in models]
    _refuse(named)
    check_language(lang)
    threads = usable_cores() if threads is None else threads
    check_threads(threads)
    with tempfile.TemporaryDirectory(prefix="featherlight-compare-") as folder, torch_threads(threads):
        opened = _open_all(named, engine, threads, Path(folder))
        shared = find_shared_images([one.engine for one in opened], named, data, split)
        asked = ask_all([one.engine for one in opened], [one.name for one in opened], shared)
        latencies = _measure(opened, threads, latency_s)
    rows = [
        _row(one, evaluation, latencies.get(one.name))
        for one, evaluation in zip(opened, asked.evaluations, strict=True)
    ]
    places = asked.disagreements().tolist()
    pairs = compare_pairs([row.name for row in rows], asked.right, asked.named)
    result = Comparison(
        shared.data, shared.split, len(asked.images), shared.classes, threads, machine_name(), tuple(rows), pairs,
        explain_comparison(rows, pairs), tuple(_notes(opened, shared)), tuple(asked.about(place) for place in places),
    )  # fmt: skip
    if out is not None:
        _write(Path(out), result, asked, places, lang)
    return result


def split_arguments(arguments: Sequence[str], data: str | None) -> tuple[list[str], str | None]:
    """Models and data out of ``MODEL MODEL ... [DATA]``: behind two models, a last one that is no model is the data."""
    if data is not None or len(arguments) < 3 or _is_model(arguments[-1]):
        return list(arguments), data
    return list(arguments[:-1]), arguments[-1]


def _is_model(name: str) -> bool:
    if name in KNOWN_NAMES and not os.path.exists(name):  # cifar10 is a model, too, but stands where data does
        return False
    try:
        find_model_file(name)
    except FeatherlightError:
        is_run = os.path.isfile(os.path.join(name, RECIPE_FILE_NAME))
        return is_run or name.endswith((".safetensors", *EXPORTED_SUFFIXES))
    return os.path.isdir(name) or name.endswith((".safetensors", *EXPORTED_SUFFIXES))


def _refuse(models: Sequence[str]) -> None:
    """What is no comparison."""
    if len(models) < 2:
        raise UsageError("name at least two models to compare; one is measured with: featherlight evaluate MODEL")
    files = [os.path.realpath(find_model_file(model)) for model in models]
    for place, file in enumerate(files):
        if file in files[:place]:
            raise UsageError(f"{models[place]} and {models[files.index(file)]} are the same model")


def _open_all(models: Sequence[str], engine: str, threads: int, folder: Path) -> list[_Opened]:
    opened = []
    for number, (model, name) in enumerate(zip(models, short_names(models), strict=True)):
        place = folder / str(number)
        place.mkdir()
        subject = _prepare(model, engine, place)
        opened.append(_Opened(model, name, subject, open_subject(subject, threads)))
    return opened


def _prepare(model: str, engine: str, folder: Path) -> Subject:
    """The model as a file that the wanted engine can open."""
    file = find_model_file(model)
    is_exported = file.suffix in EXPORTED_SUFFIXES
    engines: tuple[str, ...] = (engine,)
    if engine == "auto":
        engines = () if is_exported else ("torch",)
    elif is_exported and engine not in ENGINES_OF_SUFFIX[file.suffix]:
        able = " or ".join(ENGINES_OF_SUFFIX[file.suffix])
        raise UsageError(f"the {engine} engine cannot run {file}; its engine is: {able}")
    return prepare_subjects([file], Wish(engines), folder)[0]


def short_names(models: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell the models apart."""
    parts = [Path(os.path.normpath(model)).parts for model in models]
    for length in range(1, max(map(len, parts)) + 1):
        names = [os.path.join(*part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(models)


def _measure(opened: Sequence[_Opened], threads: int, budget_s: float) -> Mapping[str, Latency]:
    """Latency of an image of each, in turn."""
    if budget_s <= 0:
        return {}
    note(f"measuring the latency of {counted(len(opened), 'model')} for about {budget_s * len(opened):.0f} s")
    calls = {one.name: forward_call(one.engine, 1, one.subject.input_size, threads) for one in opened}
    return measure_latencies(calls, budget_s)


def _row(opened: _Opened, evaluation: Evaluation, latency: Latency | None) -> ComparedModel:
    subject = opened.subject
    low, high = evaluation.top1_interval or (0.0, 1.0)
    params, macs = _count(opened.engine.card)
    return ComparedModel(
        model=opened.model,
        name=opened.name,
        network=subject.network,
        engine=subject.engine,
        precision=subject.precision,
        input_size=subject.input_size,
        accuracy=evaluation.top1,
        accuracy_interval=(low, high),
        ece=evaluation.ece or 0.0,
        nll=evaluation.loss,
        size_bytes=subject.size_bytes,
        params=params,
        macs=macs,
        latency_ms=None if latency is None else latency.p50_ms,
        latency_range=None if latency is None else (latency.low_ms, latency.high_ms),
        recall={key: scores["recall"] for key, scores in evaluation.per_class.items() if scores["support"]},
    )


def _count(card: ModelCard) -> tuple[int | None, int | None]:
    """Parameters and multiply-adds of the network that the card names; nothing is computed."""
    size = card.preprocessing.input_size
    try:
        with torch.device("meta"):
            network = create_model(card.model, **{**card.arguments, "pretrained": False})
        cost = count_cost(network.eval(), (card.preprocessing.in_channels, size, size), card.model)
    except FeatherlightError as error:  # one of timm's where timm is not installed: its exported file still runs
        note(f"{card.model} cannot be counted: {error}")
        return None, None
    return cost.params, cost.macs


def _notes(opened: Sequence[_Opened], shared: SharedImages) -> list[str]:
    """What a reader must know to judge the numbers."""
    notes = [shared.note] if shared.note else []
    for one in opened:
        more = [label for label in one.engine.card.classes if label not in shared.classes]
        if more:
            told = f"{', '.join(more[:5])}{', ...' if len(more) > 5 else ''}"
            notes.append(
                phrase(
                    "{name} also knows {classes} that these images lack: {names}",
                    name=one.name,
                    classes=counted(len(more), "class"),
                    names=told,
                )
            )
    if len({one.engine.name for one in opened}) > 1:
        notes.append(phrase("the models run in different engines: latencies compare those, too"))
    return notes


def _write(out: Path, result: Comparison, asked: Asked, places: Sequence[int], lang: str) -> None:
    write_text(out / COMPARISON_FILE_NAME, json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n")
    histories = {model.name: _history(model.model) for model in result.models}
    models = [model.model for model in result.models]
    words = ["featherlight", "compare", *models, "--data", result.data, "--split", result.split]
    command = shlex.join(words + (["--lang", lang] if lang != "en" else []))
    pictures = [_picture(asked, place) for place in places[:MAX_PICTURED]]
    write_compare_page(out / PAGE_FILE_NAME, result, histories, pictures, command, lang)
    if any(histories.values()):
        write_training_curves(out / CURVES_FILE_NAME, result.models, histories)


def _history(model: str) -> list[dict[str, Any]]:
    """How the model was trained, where its run directory is at hand."""
    with suppress(OSError, ValueError):
        return [row for row in read_metrics(find_model_file(model).parent) if isinstance(row, dict)]
    return []


def _picture(asked: Asked, place: int) -> tuple[Answers, RGBImage | None]:
    try:
        return asked.about(place), asked.images.read(place)
    except UnreadableImageError:  # it could be read a moment ago; the page can do without it
        return asked.about(place), None
