"""Images in, labels out, whatever the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featherlight.engines import Engine, batch_size_for, compute_logits, open_engine, prepare_image
from featherlight.errors import ModelFileError, UnreadableImageError, UsageError
from featherlight.images import load_image
from featherlight.metrics import accepts, softmax
from featherlight.sources.base import RGBImage

MAX_BATCH = 32  # images that wait for each other


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        path: what was asked; ``image 3`` for images that have no path.
        label: most probable class; None when the image could not be read.
        probability: of ``label``, in [0, 1].
        top: the most probable classes as (label, probability), best first.
        rejected: the image looks like nothing that the model learnt; ``label`` is still its best guess.
        error: why there is no answer, else None.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    rejected: bool = False
    error: str | None = None

    def to_row(self) -> dict[str, Any]:
        """The row that ``predict --json`` prints."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "top": [list(pair) for pair in self.top],
            "rejected": self.rejected,
        }


class Predictor:
    """Predicts labels with a trained or exported model.

    A model that resizes images itself is given them as they are, so it answers as it does wherever else the file runs.

    Args:
        path: run directory, model file, exported file or folder.
        engine: runtime, ``auto`` chooses by the file.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.

    Raises:
        ModelFileError: no usable model there.
        MissingExtraError: its runtime is not installed.
    """

    def __init__(
        self, path: str | Path, engine: str = "auto", device: str = "auto", threads: int | None = None
    ) -> None:
        self.engine: Engine = open_engine(path, engine, device, threads)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.engine.card.classes

    def predict(self, images: Any, top: int = 5) -> list[Prediction]:
        """Answers for each image, in order; what cannot be read becomes a prediction with an ``error``.

        Args:
            images: one image or several (a list, a generator, an array (N, H, W, 3)): paths, bytes, files, PIL images
                or uint8 arrays (H, W, 3).
            top: how many classes to list.
        """
        single = isinstance(images, (str, bytes, Path)) or hasattr(images, "read") or not isinstance(images, Iterable)
        single = single or (isinstance(images, np.ndarray) and images.ndim < 4)

        return list(self.stream([images] if single else images, top))

    def stream(
        self, images: Iterable[Any], top: int = 5, batch_size: int | None = None, readers: int | None = None
    ) -> Iterator[Prediction]:
        """Like :meth:`predict`, for more images than memory holds: one batch at a time, read by so many threads."""
        if top < 1:
            raise UsageError(f"top is {top}; at least 1 is needed")
        queue = enumerate(images)
        batch_size = batch_size or min(MAX_BATCH, batch_size_for(self.engine))
        with ThreadPoolExecutor(readers) as pool:  # Pillow decodes and resizes without holding the interpreter's lock
            while batch := list(islice(queue, batch_size)):
                yield from self.answer(list(pool.map(self._prepare, batch)), top)

    def _prepare(self, numbered: tuple[int, Any]) -> tuple[str, RGBImage | str]:
        number, image = numbered
        name = str(image) if isinstance(image, (str, Path)) else f"image {number}"
        try:
            return name, prepare_image(self.engine, load_image(image, name))
        except UnreadableImageError as error:
            return name, error.reason

    def answer(self, prepared: list[tuple[str, RGBImage | str]], top: int) -> Iterator[Prediction]:
        """Answers for images that are prepared for the engine, each with its name; a text says why there is none.

        Raises:
            ModelFileError: the model's outputs are no numbers.
        """
        readable = [image for _, image in prepared if not isinstance(image, str)]
        logits = compute_logits(self.engine, readable)
        if not np.isfinite(logits).all():
            raise ModelFileError("the model gives NaN or infinite outputs: its weights are broken; train it again")
        card = self.engine.card
        accepted = [True] * len(logits) if card.reject is None else accepts(logits, card.reject, card.temperature)
        answers = zip(softmax(logits, card.temperature), accepted, strict=True)
        for name, image in prepared:
            if isinstance(image, str):
                yield Prediction(name, error=image)
            else:
                probabilities, is_known = next(answers)
                yield self._prediction(name, probabilities, top, rejected=not is_known)

    def _prediction(self, name: str, probabilities: np.ndarray[Any, Any], top: int, *, rejected: bool) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")[:top]
        best = tuple((self.classes[k], float(probabilities[k])) for k in order)
        return Prediction(name, best[0][0], best[0][1], best, rejected)
