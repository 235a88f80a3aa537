"""Millions of images -> one Parquet file of answers, part by part, so that a kill costs little."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from featherlight.console import counting, note
from featherlight.errors import UsageError
from featherlight.model_file import find_model_file, model_files
from featherlight.phrases import counted
from featherlight.sources.many import Part
from featherlight.sources.parts import find_parts
from featherlight.workflows.answer_file import AnswerFile
from featherlight.workflows.answer_part import Job, answer_part

Answered: TypeAlias = Iterator[tuple[int, Any]]  # the number of a part and its answers, in any order


@dataclass(frozen=True)
class ManyAnswers:
    """What came of it.

    Attributes:
        path: the Parquet file.
        images: how many it answers.
        errors: how many of these could not be read.
    """

    path: str
    images: int
    errors: int


def predict_many(
    model: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    *,
    top: int = 5,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    ray: str | None = None,
    part_size: int | None = None,
) -> ManyAnswers:
    """Predicts all images and writes a row for each, in their order; goes on where it was stopped before.

    A row has what ``predict --json`` prints of an image, and ``error``; what it does not have is null. Parts are kept
    in ``OUTPUT.parts`` until all are there.

    Args:
        model: run directory, model file, exported file or folder.
        images: see :func:`featherlight.sources.parts.find_parts`.
        output: a ``.parquet`` file, or an ``s3://`` or ``gs://`` address of one.
        top: how many classes to list.
        engine: runtime.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice, on Ray one.
        ray: address of the Ray cluster that computes; ``auto``: one that runs here, else this machine; None: this
            process alone.
        part_size: images in a part; None: as suits their number.

    Raises:
        UsageError: the output exists and answers something else, or an argument does not fit.
        ModelFileError: no usable model.
        DataError: no images.
        MissingExtraError: PyArrow or Ray is not installed.
    """
    if top < 1:
        raise UsageError(f"top is {top}; at least 1 is needed")
    job = Job(str(find_model_file(model)), top, engine, device, threads)
    file = AnswerFile(output)
    parts = find_parts(images, part_size)
    with file.claim(_describe(job, parts)):
        if file.is_complete():
            note(f"{output} is there already")
        else:
            _answer_missing(job, parts, file, ray)
            file.join(len(parts))
        file.remove_parts()
        return ManyAnswers(str(output), *file.count())


def _answer_missing(job: Job, parts: Sequence[Part], file: AnswerFile, ray: str | None) -> None:
    finished = file.finished()
    missing = {number: part for number, part in enumerate(parts) if number not in finished}
    total, left = sum(map(len, parts)), sum(map(len, missing.values()))
    if finished:
        note(f"going on: {counted(total - left, 'image')} of {total:,} are answered already")
    if not missing:
        return
    with counting("predicting", total) as advance:
        advance(total - left)
        for number, answers in _answer(job, missing, ray):
            if number not in finished:  # a part that came twice, since its machine was thought lost
                file.add(number, answers)
                finished.add(number)
                advance(len(answers))


def _answer(job: Job, parts: Mapping[int, Part], ray: str | None) -> Answered:
    if ray is not None:
        from featherlight.workflows.on_ray import answer_on_ray

        return answer_on_ray(job, parts, ray)
    predictor = job.open()
    return ((number, answer_part(predictor, part, job.top)) for number, part in parts.items())


def _describe(job: Job, parts: Sequence[Part]) -> dict[str, Any]:
    """What is asked: the same again is the same job."""
    images = hashlib.sha256()
    for part in parts:
        images.update(part.key().encode("utf-8", "surrogateescape") + b"\0")
    return {
        "model": hashlib.sha256(b"".join(content for _, content in model_files(Path(job.model)))).hexdigest(),
        "top": job.top,
        "engine": job.engine,
        "images": images.hexdigest(),
        "number of images": sum(map(len, parts)),
    }
