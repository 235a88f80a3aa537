"""One pass of an engine over labelled images, and what it found there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.console import counting, note
from featherlight.engines import Engine, batch_size_for, compute_logits, prepare_image
from featherlight.errors import DataError, UnreadableImageError
from featherlight.metrics import Evaluation, evaluate_logits
from featherlight.metrics.mistakes import list_mistakes
from featherlight.report import Mistake
from featherlight.sources.base import RGBImage, Source, Split, SplitName, Unreadable, join_splits, take
from featherlight.sources.reading import ReadBatch, read_batches

ALL = "all"
SHOWN_SIZE = 512  # pixels; two hundred photos as cameras take them would not fit in memory


@dataclass(frozen=True)
class Measured:
    """What an engine said about a split.

    Attributes:
        images: those that can be read (N).
        logits: float32 (N, K).
        labels: true classes in the model's order (N,).
        evaluation: the numbers.
        mistakes: place (M,) among the images of each of the evaluation's ``mistakes``.
    """

    images: Split
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    evaluation: Evaluation
    mistakes: NDArray[np.int64]


def measure_split(engine: Engine, source: Source, split: str, model: str, *, strict: bool = False) -> Measured:
    """Runs the engine over one split.

    Raises:
        DataError: a class that training never saw; with ``strict`` also an unreadable image.
    """
    card = engine.card
    images = images_of(source, split)
    labels_of = align_classes(source.classes, card.classes)
    logits, positions, unreadable = run_split(engine, images, "evaluating")
    report_unreadable(unreadable, strict=strict)
    images = take(images, positions) if unreadable else images
    labels = labels_of[images.labels]
    evaluation = evaluate_logits(
        logits, labels, card.classes, model=model, data=source.name, split=split, engine=engine.name,
        temperature=card.temperature, reject=card.reject, unreadable=[*source.unreadable, *unreadable],
    )  # fmt: skip
    rows, places = list_mistakes(logits, labels, images.paths, card.classes, card.temperature)
    return Measured(images, logits, labels, dataclasses.replace(evaluation, mistakes=rows), places)


def images_of(source: Source, split: str) -> Split:
    """A split of a source; ``all``: every image."""
    return join_splits(source) if split == ALL else source.splits[cast("SplitName", split)]


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
    for batch in read_prepared(images, partial(prepare_image, engine), batch_size_for(engine), title):
        if batch.images:
            found = compute_logits(engine, batch.images)
            if not count:  # all at once, since two copies of very many classes might not fit
                logits = np.empty((len(images), found.shape[1]), np.float32)
            logits[count : count + len(found)] = found
            count += len(found)
        positions.append(batch.positions)
        unreadable.extend(batch.unreadable)
    if not count:
        raise DataError("not one image could be read" if len(images) else "there are no images in this split")
    return logits[:count], np.concatenate(positions), unreadable


def read_prepared(
    images: Split, prepare: Callable[[RGBImage], RGBImage], batch_size: int, title: str
) -> Iterator[ReadBatch]:
    """Batches of images, with a bar that counts them."""
    with counting(title, len(images)) as advance:
        for batch in read_batches(images, prepare, batch_size):
            yield batch
            advance(len(batch.positions) + len(batch.unreadable))


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


def read_mistakes(measured: Measured) -> list[Mistake]:
    """The evaluation's ``mistakes`` with their images, small."""
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(partial(_read_small, measured.images), measured.mistakes.tolist()))
    return [
        Mistake(image=image, **{**row, "top": [(label, share) for label, share in row["top"]]})
        for row, image in zip(measured.evaluation.mistakes, images, strict=True)
        if image is not None
    ]


def _read_small(images: Split, position: int) -> RGBImage | None:
    try:
        image = images.read(position, SHOWN_SIZE // 2)
    except UnreadableImageError:  # it could be read a moment ago; the page can do without it
        return None
    if max(image.shape) <= SHOWN_SIZE:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN_SIZE, SHOWN_SIZE))
    return np.array(picture)
