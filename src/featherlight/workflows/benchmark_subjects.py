"""What a benchmark measures: every model as a file that each engine can open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.engines import Engine, open_engine
from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.model_file import MODEL_FILE_NAME, ModelCard, find_model_file, read_card
from featherlight.models.registry import create_model
from featherlight.models.timm_networks import PREFIX, published_input_size
from featherlight.models.weights import save_model

DEFAULT_INPUT_SIZE = 224
PRECISIONS = {"torch": ("float32",)}


@dataclass(frozen=True)
class Subject:
    """A model in one engine and precision.

    Attributes:
        model: as the person named it.
        file: what the engine opens.
        engine: runtime.
        precision: in which it computes.
        network: registered name.
        num_classes: outputs.
        input_size: side of the image, pixels.
        size_bytes: on disk.
    """

    model: str
    file: Path
    engine: str
    precision: str
    network: str
    num_classes: int
    input_size: int
    size_bytes: int


def prepare_subjects(
    models: Sequence[str | Path],
    engines: Sequence[str],
    precisions: Sequence[str],
    input_size: int | None,
    num_classes: int | None,
    data: str | Path | None,
    folder: Path,
) -> list[Subject]:
    """Each model in each engine and precision that can run it, as files; what has to be made is made in ``folder``.

    Raises:
        UsageError: unknown names, or nothing to measure.
        ModelFileError: no usable model file.
        MissingExtraError: a runtime that was asked for is not installed.
    """
    if not models:
        raise UsageError("name at least one model; `featherlight models` lists the networks")
    subjects: list[Subject] = []
    for number, model in enumerate(models):
        place = folder / str(number)
        place.mkdir()
        file = model_file(model, input_size, num_classes, data, place)
        subjects += _in_engines(str(model), file, engines or installed_engines(), precisions)
    if not subjects:
        raise UsageError(f"none of these precisions runs in these engines: {', '.join(precisions)}")
    return subjects


def installed_engines() -> list[str]:
    """Runtimes that can be imported here."""
    return [name for name in PRECISIONS if find_spec(name) is not None]


def open_subject(subject: Subject, threads: int | None = None) -> Engine:
    """Loads it into its engine."""
    return open_engine(subject.file, subject.engine)


def sample_images(batch: int, side: int) -> NDArray[np.uint8]:
    """Random images (batch, side, side, 3), always the same."""
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)


def model_file(
    model: str | Path, input_size: int | None, num_classes: int | None, data: str | Path | None, folder: Path
) -> Path:
    """The file that ``model`` names; of a network's name, one with fresh weights in ``folder``."""
    if os.path.exists(model):
        if input_size is not None or num_classes is not None:
            raise UsageError(f"{model} has its own size and classes; leave out --input-size and --num-classes")
        return find_model_file(model)
    name = str(model)
    if not name.startswith(PREFIX) and (os.sep in name or Path(name).suffix in (".safetensors", ".onnx", ".xml")):
        raise UsageError(f"{name}: no such run directory, model file or exported file")
    if data is not None:
        raise UsageError(f"{name} is not trained, so it has no accuracy; leave out --data, or name a trained model")
    side = input_size or (published_input_size(name) if name.startswith(PREFIX) else DEFAULT_INPUT_SIZE)
    network = create_model(name, num_classes or 1000, input_size=side)
    classes = [str(number) for number in range(num_classes or 1000)]
    return save_model(network, folder / MODEL_FILE_NAME, classes, Preprocessing(side))


def _in_engines(model: str, file: Path, engines: Sequence[str], precisions: Sequence[str]) -> Iterator[Subject]:
    card = read_card(file)
    for engine in engines:
        if engine not in PRECISIONS:
            raise UsageError(f"unknown engine {engine!r}; there are: {', '.join(PRECISIONS)}")
        for precision in precisions:
            if precision in PRECISIONS[engine]:
                yield _subject(model, file, engine, precision, card)


def _subject(model: str, file: Path, engine: str, precision: str, card: ModelCard) -> Subject:
    size = file.stat().st_size
    side = card.preprocessing.input_size
    return Subject(model, file, engine, precision, card.model, len(card.classes), side, size)
