"""Several models -> the same images: whose answers are better, whether that is real, and what each costs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.comparison import Answers, ComparedModel, Comparison, compare_pairs, explain_comparison
from featherlight.console import counted, note
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
from featherlight.errors import DataError, FeatherlightError, UsageError
from featherlight.metrics import Evaluation, evaluate_logits, most_likely
from featherlight.model_file import EXPORTED_SUFFIXES, ModelCard, find_model_file
from featherlight.models.registry import create_model
from featherlight.sources.base import take
from featherlight.training.recipe import RECIPE_FILE_NAME
from featherlight.workflows.benchmark_subject import Subject, forward_call, open_subject
from featherlight.workflows.benchmark_subjects import Wish, prepare_subjects
from featherlight.workflows.compare_images import SharedImages, find_shared_images
from featherlight.workflows.evaluate import align_classes, report_unreadable, run_split

LATENCY_S = 2.0  # for each model


@dataclass(frozen=True)
class _Asked:
    """What one model answered.

    Attributes:
        evaluation: of the images that all models could read.
        named: class of each image, numbered as the images' classes, then as other models' further classes.
        probability: how sure it is of it.
        right: whether it is the true one.
    """

    evaluation: Evaluation
    named: NDArray[np.int64]
    probability: NDArray[np.float64]
    right: NDArray[np.bool_]


def compare(
    models: Sequence[str | Path],
    data: str | Path | None = None,
    *,
    split: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    latency_s: float = LATENCY_S,
    out: str | Path | None = None,
) -> Comparison:
    """Compares models on the same images: accuracy, calibration, size, cost and speed, and whether differences are real.

    Model files and exported files mix. Classes are matched by name. Everything is computed on the processor.

    Args:
        models: at least two run directories, model files, exported files or folders.
        data: images; by default those that all models were trained on.
        split: ``test``, ``val``, ``train`` or ``all``; by default test if there is one, else val. Of data that a model
            was trained on, only held-out images are used unless a split is named.
        engine: runtime; by default each file's own. With another, model files are exported for it first.
        threads: that each computes with; by default all cores of this process.
        latency_s: seconds to measure each model's latency, about; 0: latency is left out.
        out: folder for ``compare.json``, ``compare.html`` and ``curves.png``.

    Raises:
        UsageError: fewer than two models, one of them twice, or no data that suits all of them.
        ModelFileError: no usable model file.
        DataError: no usable images, or a class that a model does not know.
        MissingExtraError: a runtime that is needed is not installed.
    """
    named = [str(model) for model in models]
    _refuse_few(named)
    threads = usable_cores() if threads is None else threads
    check_threads(threads)
    with tempfile.TemporaryDirectory(prefix="featherlight-compare-") as folder, torch_threads(threads):
        subjects = [_prepare(model, engine, Path(folder) / str(number)) for number, model in enumerate(named)]
        engines = [open_subject(subject, threads) for subject in subjects]
        shared = find_shared_images(engines, named, data, split)
        names = short_names(named)
        asked, shared, labels = _ask_all(engines, names, shared)
        latencies = _measure(names, subjects, engines, threads, latency_s)
        rows = [
            _row(named[k], names[k], subjects[k], engines[k].card, asked[k].evaluation, latencies.get(names[k]))
            for k in range(len(named))
        ]
    return _conclude(rows, asked, shared, labels, threads, _notes(engines, names, shared))


def _refuse_few(models: Sequence[str]) -> None:
    if len(models) < 2:
        raise UsageError("name at least two models to compare; one is measured with: featherlight evaluate MODEL")
    files = [os.path.realpath(find_model_file(model)) for model in models]
    for place, file in enumerate(files):
        if file in files[:place]:
            raise UsageError(f"{models[place]} and {models[files.index(file)]} are the same model")


def _prepare(model: str, engine: str, folder: Path) -> Subject:
    """The model as a file that the wanted engine can open."""
    folder.mkdir()
    file = find_model_file(model)
    is_exported = file.suffix in EXPORTED_SUFFIXES
    if engine == "auto":
        engines = () if is_exported else ("torch",)
    elif is_exported and engine not in ENGINES_OF_SUFFIX[file.suffix]:
        able = " or ".join(ENGINES_OF_SUFFIX[file.suffix])
        raise UsageError(f"the {engine} engine cannot run {file}; its engine is: {able}")
    else:
        engines = (engine,)
    return prepare_subjects([file], Wish(engines), folder)[0]


def short_names(models: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell the models apart."""
    parts = [Path(os.path.normpath(model)).parts for model in models]
    for length in range(1, max(map(len, parts)) + 1):
        names = [os.path.join(*part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(models)


def _ask_all(
    engines: Sequence[Engine], names: Sequence[str], shared: SharedImages
) -> tuple[list[_Asked], SharedImages, list[str]]:
    """What each model answers; the images, without those that cannot be read; and all classes by their numbers."""
    aligned = [_align(engine, name, shared) for engine, name in zip(engines, names, strict=True)]
    found = [run_split(engine, shared.images, f"asking {name}") for engine, name in zip(engines, names, strict=True)]
    report_unreadable(found[0][2], strict=False)
    kept = found[0][1]
    for _, positions, _ in found[1:]:  # the same, unless files went away meanwhile
        kept = np.intersect1d(kept, positions)
    if not len(kept):
        raise DataError("not one image could be read by all models; images must not change meanwhile")
    images = take(shared.images, kept)
    numbers = {name: number for number, name in enumerate(shared.classes)}
    asked = []
    for engine, labels_of, (logits, positions, _) in zip(engines, aligned, found, strict=True):
        chosen = logits[np.searchsorted(positions, kept)]
        for name in engine.card.classes:
            numbers.setdefault(name, len(numbers))
        known = np.array([numbers[name] for name in engine.card.classes])
        evaluation = evaluate_logits(
            chosen, labels_of[images.labels], engine.card.classes, model=engine.card.model, data=shared.data,
            split=shared.split, engine=engine.name, temperature=engine.card.temperature,
        )  # fmt: skip
        answer, probability = most_likely(chosen, engine.card.temperature)
        asked.append(_Asked(evaluation, known[answer], probability, known[answer] == images.labels))
    return asked, replace(shared, images=images), list(numbers)


def _align(engine: Engine, name: str, shared: SharedImages) -> NDArray[np.int64]:
    try:
        return align_classes(shared.classes, engine.card.classes)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _measure(
    names: Sequence[str], subjects: Sequence[Subject], engines: Sequence[Engine], threads: int, budget_s: float
) -> Mapping[str, Latency]:
    if budget_s <= 0:
        return {}
    note(f"measuring the latency of {counted(len(names), 'model')} for about {budget_s * len(names):.0f} s")
    calls = {
        name: forward_call(engine, 1, subject.input_size, threads)
        for name, subject, engine in zip(names, subjects, engines, strict=True)
    }
    return measure_latencies(calls, budget_s)


def _row(
    model: str, name: str, subject: Subject, card: ModelCard, evaluation: Evaluation, latency: Latency | None
) -> ComparedModel:
    params, macs = _count(card)
    return ComparedModel(
        model=model,
        name=name,
        network=subject.network,
        engine=subject.engine,
        precision=subject.precision,
        input_size=subject.input_size,
        accuracy=evaluation.top1,
        accuracy_interval=(0.0, 1.0),
        ece=0.0,
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
    except FeatherlightError as error:  # a timm network where timm is not installed: the exported file still runs
        note(f"{card.model} cannot be counted: {error}")
        return None, None
    return cost.params, cost.macs


def _notes(engines: Sequence[Engine], names: Sequence[str], shared: SharedImages) -> list[str]:
    notes = [shared.note] if shared.note else []
    for engine, name in zip(engines, names, strict=True):
        more = [label for label in engine.card.classes if label not in shared.classes]
        if more:
            told = f"{', '.join(more[:5])}{', ...' if len(more) > 5 else ''}"
            notes.append(f"{name} also knows {counted(len(more), 'class')} that these images lack: {told}")
    if len({engine.name for engine in engines}) > 1:
        notes.append("the models run in different engines: latencies compare those, too")
    return notes


def _conclude(
    rows: Sequence[ComparedModel], asked: Sequence[_Asked], shared: SharedImages, labels: Sequence[str], threads: int,
    notes: Sequence[str],
) -> Comparison:  # fmt: skip
    named, right = np.stack([one.named for one in asked]), np.stack([one.right for one in asked])
    pairs = compare_pairs([row.name for row in rows], right, named)
    return Comparison(
        data=shared.data,
        split=shared.split,
        num_images=len(shared.images),
        classes=shared.classes,
        threads=threads,
        machine=machine_name(),
        models=tuple(rows),
        pairs=pairs,
        sentence=explain_comparison(rows, pairs),
        notes=tuple(notes),
        disagreements=tuple(_disagreements(named, right, asked, shared, labels)),
    )


def _disagreements(
    named: NDArray[np.int64], right: NDArray[np.bool_], asked: Sequence[_Asked], shared: SharedImages, labels: Sequence[str]
) -> Iterator[Answers]:
    """Images not all name alike: first those that some name rightly, each by how sure the models are."""
    probabilities = np.stack([one.probability for one in asked])
    different = np.flatnonzero((named != named[0]).any(axis=0))
    decided = right[:, different].any(axis=0)
    sure = probabilities[:, different].mean(axis=0)
    for place in different[np.lexsort((-sure, ~decided))].tolist():
        yield Answers(
            shared.images.paths[place],
            shared.classes[shared.images.labels[place]],
            tuple(labels[number] for number in named[:, place]),
            tuple(probabilities[:, place].tolist()),
        )


def split_arguments(arguments: Sequence[str], data: str | None) -> tuple[list[str], str | None]:
    """Models and data out of ``MODEL MODEL ... [DATA]``: a last one that is no model is the data."""
    if data is not None or len(arguments) < 3 or _is_model(arguments[-1]):
        return list(arguments), data
    return list(arguments[:-1]), arguments[-1]


def _is_model(name: str) -> bool:
    try:
        find_model_file(name)
    except FeatherlightError:
        return os.path.isfile(os.path.join(name, RECIPE_FILE_NAME)) or name.endswith((".safetensors", *EXPORTED_SUFFIXES))
    return True
