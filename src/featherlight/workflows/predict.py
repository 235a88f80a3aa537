"""Images, folders, globs or standard input -> predictions, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.predictor import Prediction, Predictor
from featherlight.sources import open_images


def predict(
    model: str | Path, images: Sequence[str | Path], *, top: int = 5, engine: str = "auto", device: str = "auto"
) -> Iterator[Prediction]:
    """Predicts every image that ``images`` names, in order.

    Args:
        model: run directory or model file.
        images: files, folders, globs, or ``-`` for standard input: one image, or a path a line.
        top: how many classes to list.
        engine: runtime.
        device: where the torch engine computes.

    Raises:
        ModelFileError: no usable model.
        DataError: a path that does not exist, or a folder without images.
    """
    predictor = Predictor(model, engine, device)
    for given in images:
        if str(given) == "-":
            yield from _from_standard_input(predictor, top)
        else:
            yield from predictor.stream(open_images([given]), top)


def _from_standard_input(predictor: Predictor, top: int) -> Iterator[Prediction]:
    data = sys.stdin.buffer.read()
    paths = _as_paths(data)
    if paths is not None:
        yield from predictor.stream(paths, top)
        return
    (answer,) = predictor.predict([data], top)
    yield Prediction("-", answer.label, answer.probability, answer.top, answer.rejected, answer.error)


def _as_paths(data: bytes) -> list[str] | None:
    """Lines of paths, or None when the data is an image: every image format has bytes that no text has."""
    if not data.strip():
        raise UsageError("standard input is empty; pipe in an image, or a path a line")
    if b"\0" in data[:4096]:
        return None
    try:
        return [line for line in data.decode().splitlines() if line]
    except UnicodeDecodeError:
        return None
