"""Model and images -> honest numbers, and the page that shows them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from featherlight.console import counting, note
from featherlight.engines import Engine, batch_size_for, compute_logits, open_engine, prepare_image
from featherlight.errors import DataError, UnreadableImageError, UsageError
from featherlight.files import write_text
from featherlight.metrics import Evaluation, evaluate_logits, most_likely
from featherlight.report import Mistake, write_report
from featherlight.sources import open_source
from featherlight.sources.base import Source, Split, SplitName, Unreadable, join_splits
from featherlight.sources.reading import read_batches

EVALUATION_FILE_NAME = "evaluation.json"
REPORT_FILE_NAME = "report.html"
MISTAKES_SHOWN = 36
ALL = "all"


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    out: str | Path | None = None,
    strict: bool = False,
) -> Evaluation:
    """Evaluates a model on images it was not trained on.

    Args:
        model: run directory, model file, exported file or folder.
        data: images; by default those the model was trained on.
        split: ``test``, ``val``, ``train`` or ``all``; by default test if there is one, else val.
        engine: runtime.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.
        out: folder for ``evaluation.json`` and ``report.html``.
        strict: an unreadable image is an error.

    Raises:
        ModelFileError: no usable model.
        DataError: no usable images, or classes that training never saw.
    """
    opened = open_engine(model, engine, device, threads)
    evaluation, mistakes = evaluate_engine(opened, model, data, split, strict=strict)
    if out is not None:
        command = shlex.join(["featherlight", "evaluate", str(model), evaluation.data, "--split", evaluation.split])
        write_evaluation(Path(out), evaluation, mistakes, reproduce=command)
    return evaluation


def evaluate_engine(
    engine: Engine, model: str | Path, data: str | Path | None, split: str | None, *, strict: bool = False
) -> tuple[Evaluation, list[Mistake]]:
    """Evaluates an open model; arguments and errors as of :func:`evaluate`.

    Returns:
        The evaluation and the most confident mistakes, worst first.
    """
    source = open_images_of(engine, model, data, split, strict=strict)
    report_unreadable(source.unreadable, strict=strict)
    return evaluate_split(engine, source, choose_split(source, split), str(model), strict=strict)


def open_images_of(
    engine: Engine, model: str | Path, data: str | Path | None, split: str | None = None, *, strict: bool = False
) -> Source:
    """The images to measure on: of the training data the part that was held out, of others all."""
    known = engine.card.provenance
    group_by = _group_by(known)
    if data is None:
        source = open_source(_training_data(engine, model), strict=strict, group_by=group_by)
        if source.fingerprint != known.get("fingerprint"):
            note(
                f"{source.name} has changed since this model was trained; its {'/'.join(source.splits)} images are used"
            )
        return source
    if split == ALL:
        return open_source(data, strict=strict, as_it_is=True)
    if split is not None or _is_training_data(data, known):
        return open_source(data, strict=strict, group_by=group_by if _is_training_data(data, known) else None)
    with suppress(DataError, UsageError):  # too few images to train on, say: then it is not the training data
        source = open_source(data, group_by=group_by)
        if source.fingerprint == known.get("fingerprint"):
            return source
    return open_source(data, as_it_is=True)


def _is_training_data(data: str | Path, known: Mapping[str, Any]) -> bool:
    return known.get("data") in (str(data), os.path.abspath(os.path.expanduser(data)))


def _group_by(known: Mapping[str, Any]) -> str | None:
    """How the training images were grouped: without it they would be split otherwise."""
    recipe = known.get("recipe")
    group_by = recipe.get("group_by") if isinstance(recipe, Mapping) else None
    return group_by if isinstance(group_by, str) else None


def choose_split(source: Source, split: str | None) -> str:
    """The split to evaluate on.

    Raises:
        UsageError: the source has no such split.
    """
    name = split or ("test" if "test" in source.splits else "val")
    if name != ALL and name not in source.splits:
        raise UsageError(f"{source.name} has no {name} split; it has: {', '.join(source.splits)}")
    return name


def evaluate_split(
    engine: Engine, source: Source, split: str, model: str, *, strict: bool = False
) -> tuple[Evaluation, list[Mistake]]:
    """Runs the engine over one split.

    Returns:
        The evaluation and the most confident mistakes, worst first.

    Raises:
        DataError: a class that training never saw; with ``strict`` also an unreadable image.
    """
    card = engine.card
    images = join_splits(source) if split == ALL else source.splits[cast("SplitName", split)]
    labels_of = align_classes(source.classes, card.classes)
    logits, positions, unreadable = run_split(engine, images, "evaluating")
    report_unreadable(unreadable, strict=strict)
    labels = labels_of[images.labels[positions]]
    evaluation = evaluate_logits(
        logits, labels, card.classes, model=model, data=source.name, split=split, engine=engine.name,
        temperature=card.temperature, reject=card.reject, unreadable=[*source.unreadable, *unreadable],
    )  # fmt: skip
    predicted, confidence = most_likely(logits, card.temperature)
    return evaluation, _worst_mistakes(predicted, confidence, labels, positions, images, card.classes)


def write_evaluation(
    out: Path, evaluation: Evaluation, mistakes: Sequence[Mistake], *, history: Sequence[dict[str, Any]] = (),
    recipe: Mapping[str, object] | None = None, reproduce: str,
) -> None:  # fmt: skip
    """Writes ``evaluation.json`` and ``report.html`` into ``out``."""
    write_text(out / EVALUATION_FILE_NAME, evaluation.to_json())
    write_report(
        out / REPORT_FILE_NAME, evaluation, mistakes=mistakes, history=history, recipe=recipe or {}, reproduce=reproduce
    )


def report_unreadable(unreadable: Sequence[Unreadable], *, strict: bool) -> None:
    """Names the files that could not be read and counts them.

    Raises:
        DataError: there are any and ``strict`` is set.
    """
    if not unreadable:
        return
    for path, reason in unreadable:
        note(f"skipped {path}: {reason}")
    count = f"{len(unreadable)} unreadable image{'s' if len(unreadable) > 1 else ''}"
    if strict:
        path, reason = unreadable[0]
        raise DataError(f"{count}, the first: {path}: {reason}. Remove or repair them, or leave out --strict")
    note(f"{count} skipped")


def _training_data(engine: Engine, model: str | Path) -> str:
    data = engine.card.provenance.get("data")
    if not isinstance(data, str):
        raise UsageError(
            f"{model} does not say what it was trained on; name the images: featherlight evaluate {model} DATA"
        )
    return data


def align_classes(found: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Label in the source -> label in the model; classes keep their identity by name.

    Raises:
        DataError: the model does not know one of them.
    """
    number = {name: index for index, name in enumerate(known)}
    unknown = [name for name in found if name not in number]
    if unknown:
        raise DataError(
            f"the model never saw {'these classes' if len(unknown) > 1 else 'this class'}: {', '.join(unknown[:10])}. "
            f"It knows: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"
        )
    return np.array([number[name] for name in found], np.int64)


def run_split(
    engine: Engine, images: Split, title: str
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[Unreadable]]:
    """Logits (N, K) of the images that can be read, their positions (N,), and those that cannot.

    Raises:
        DataError: not one can be read.
    """
    logits, positions, unreadable = np.zeros((0, 0), np.float32), list[NDArray[np.int64]](), list[Unreadable]()
    count = 0
    with counting(title, len(images)) as advance:
        for batch in read_batches(images, partial(prepare_image, engine), batch_size_for(engine)):
            if batch.images:
                found = compute_logits(engine, batch.images)
                if not count:  # all at once, since two copies of very many classes might not fit
                    logits = np.empty((len(images), found.shape[1]), np.float32)
                logits[count : count + len(found)] = found
                count += len(found)
            positions.append(batch.positions)
            unreadable.extend(batch.unreadable)
            advance(len(batch.positions) + len(batch.unreadable))
    if not count:
        raise DataError("not one image could be read" if len(images) else "there are no images in this split")
    return logits[:count], np.concatenate(positions), unreadable


def _worst_mistakes(
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    positions: NDArray[np.int64],
    images: Split,
    classes: Sequence[str],
) -> list[Mistake]:
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_SHOWN]
    mistakes = []
    for k in worst:
        position = int(positions[k])
        try:
            image = images.read(position)
        except UnreadableImageError:  # it could be read a moment ago; the page can do without it
            continue
        mistakes.append(
            Mistake(
                images.paths[position],
                image,
                classes[labels[k]],
                classes[predicted[k]],
                float(confidence[k]),
            )
        )
    return mistakes
