"""An exported file and the model it was made of, on the same images: the same answers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.engines import Engine, open_engine
from featherlight.errors import DataError, UsageError
from featherlight.sources.base import Source, Split, SplitName, join_splits, take
from featherlight.verification import Verification, compare_outputs
from featherlight.workflows.evaluate import (
    ALL,
    align_classes,
    choose_split,
    open_images_of,
    report_unreadable,
    run_split,
)


@dataclass(frozen=True)
class Reference:
    """What the model itself says about the images, computed once.

    Attributes:
        images: those that can be read.
        logits: of the model, float32 (N, K).
        labels: true classes in the model's order, int64 (N,); None where the model does not know them.
        data: name of the source.
        split: of it.
    """

    images: Split
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    data: str
    split: str


def verify(
    exported: str | Path,
    against: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Verification:
    """Compares an exported file with the model it was made of, image by image.

    Args:
        exported: exported file or folder.
        against: run directory or model file; another exported file works, too.
        data: images; by default those the model was trained on.
        split: ``val``, ``test``, ``train`` or ``all``; by default val of the training data, all images of others.
        engine: runtime of the exported file.
        device: where the torch engine computes.
        threads: of the exported file's runtime.

    Raises:
        ModelFileError: no usable model.
        UsageError: the two know different classes, or there is no such split.
        DataError: no usable images.
    """
    opened = open_engine(exported, engine, "auto", threads)
    original = open_engine(against, device=device)
    reference = compute_reference(original, against, data, split)
    return compare_engine(opened, reference, original.card.classes)


def compute_reference(
    engine: Engine, model: str | Path, data: str | Path | None, split: str | None = None
) -> Reference:
    """Runs the model over the images to compare on.

    Raises:
        DataError: there are no usable images.
        UsageError: the model does not say what it was trained on, and no images are named.
    """
    if data is None and not isinstance(engine.card.provenance.get("data"), str):
        raise UsageError(
            f"{model} does not say what it was trained on; name images to compare on, best those it is for: --data DATA"
        )
    source = open_images_of(engine, model, data, split)
    report_unreadable(source.unreadable, strict=False)
    name = _choose_split(source, split)
    images = join_splits(source) if name == ALL else source.splits[cast("SplitName", name)]
    logits, positions, unreadable = run_split(engine, images, "running the model")
    report_unreadable(unreadable, strict=False)
    kept = take(images, positions)
    return Reference(kept, logits, _labels(source, kept, engine), source.name, name)


def compare_engine(engine: Engine, reference: Reference, classes: Sequence[str]) -> Verification:
    """Runs an exported file over the reference's images and compares.

    Raises:
        UsageError: it knows other classes than the reference.
    """
    if tuple(engine.card.classes) != tuple(classes):
        raise UsageError("the exported file knows other classes than the model; they cannot be compared")
    logits, positions, unreadable = run_split(engine, reference.images, "running the exported file")
    if unreadable or len(positions) != len(reference.logits):
        raise DataError(
            f"{unreadable[0][0]}: could be read a moment ago, not any more; images must not change meanwhile"
        )
    precision = "int8" if precision_of(engine) == "int8" else "float"
    return compare_outputs(
        reference.logits, logits, reference.labels, reference.images.paths, classes,
        precision=precision, data=reference.data, split=reference.split, engine=engine.name,
    )  # fmt: skip


def precision_of(engine: Engine) -> str:
    """As the exported file's notes have it; ``float`` for all others."""
    exported = getattr(engine, "exported", None)
    return "float" if exported is None else str(exported.notes.get("precision", "float"))


def _choose_split(source: Source, split: str | None) -> str:
    """The named one, else the validation images: those that the person has, and that chose nothing in an export."""
    if split is not None:
        return choose_split(source, split)
    return next(name for name in ("val", "test", "train") if name in source.splits)


def _labels(source: Source, images: Split, engine: Engine) -> NDArray[np.int64] | None:
    try:
        return align_classes(source.classes, engine.card.classes)[images.labels]
    except DataError:
        note(f"the model does not know the classes of {source.name}: its answers are compared, not their accuracy")
        return None
