"""One model in one engine and precision. Imports no torch: a process that measures memory must not carry it along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.cost.latency import torch_threads
from featherlight.engines import Engine, open_engine

_OPENVINO_NAMES = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # for what is not int8


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


def open_subject(subject: Subject, threads: int | None = None) -> Engine:
    """Loads it into its engine."""
    if subject.engine == "openvino":
        from featherlight.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(subject.file, "auto", threads, _OPENVINO_NAMES[subject.precision])
    return open_engine(subject.file, subject.engine, "cpu", threads)


def sample_images(batch: int, side: int) -> NDArray[np.uint8]:
    """Random images (batch, side, side, 3), always the same."""
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)


def forward_call(engine: Engine, batch: int, input_size: int, threads: int) -> Callable[[], object]:
    """What is timed: images of the network's size to logits, always the same images."""
    images = sample_images(batch, input_size)
    if engine.name != "torch":
        return lambda: engine.logits(images)

    def call() -> None:
        with torch_threads(threads):  # PyTorch has one number for the whole process
            engine.logits(images)

    return call
