"""Images, folders, globs or standard input -> predictions, one at a time."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.images import MAX_FILE_BYTES
from featherlight.predictor import Prediction, Predictor
from featherlight.sources import open_images

_NETPBM = re.compile(rb"P[1-6]\s+[#\d]")


def predict(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 5,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[Prediction]:
    """Predicts every image that ``images`` names, in order.

    Args:
        model: run directory, model file, exported file or folder.
        images: files, folders, globs, or ``-`` for standard input: one image, or a path a line.
        top: how many classes to list.
        engine: runtime.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.

    Raises:
        ModelFileError: no usable model.
        DataError: a path that does not exist, or a folder without images.
    """
    found = [None if str(given) == "-" else open_images([given]) for given in images]  # all, before the first answer
    predictor = Predictor(model, engine, device, threads)
    for is_input, group in groupby(found, lambda paths: paths is None):
        if is_input:
            yield from _from_standard_input(predictor, top)
        else:  # neighbours share batches: a shell turns *.jpg into a thousand arguments
            yield from predictor.stream(chain.from_iterable(paths or [] for paths in group), top)


def _from_standard_input(predictor: Predictor, top: int) -> Iterator[Prediction]:
    data = _read_standard_input()
    paths = _as_paths(data)
    if paths is not None:
        yield from predictor.stream(paths, top)
        return
    (answer,) = predictor.predict([data], top)
    yield Prediction("-", answer.label, answer.probability, answer.top, answer.rejected, answer.error)


def _read_standard_input() -> bytes:
    data = bytearray()
    while piece := sys.stdin.buffer.read(2**20):
        data += piece
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(f"standard input: more than {MAX_FILE_BYTES // 2**20} MiB; pipe in one image, or paths")
    return bytes(data)


def _as_paths(data: bytes) -> list[str] | None:
    """Lines of paths, or None when the data is an image: it has zero bytes near its start, or begins as Netpbm does."""
    if not data.strip():
        raise UsageError("standard input is empty; pipe in an image, or a path a line")
    if b"\0" in data[:4096] or _NETPBM.match(data):
        return None
    return [line for line in os.fsdecode(data).replace("\r\n", "\n").split("\n") if line]
