"""The contract of an engine, and the table of those there are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UsageError, explain_missing
from featherlight.model_file import ModelCard, find_model_file

# Names, not imports: an engine is loaded when it is asked for, so that the base never needs its runtime.
# The PyTorch engine builds networks and therefore lives in the torch half.
ENGINES = {"torch": "featherlight.models.engine:TorchEngine"}
ENGINE_OF_SUFFIX = {".safetensors": "torch"}


class Engine(Protocol):
    """A loaded model in some runtime.

    Attributes:
        name: of the runtime, e.g. ``torch``.
        card: what the model file says.
    """

    name: str
    card: ModelCard

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Computes logits (N, num_classes) of images (N, S, S, 3) that are resized but not normalised."""
        ...


def open_engine(model: str | Path, engine: str = "auto", device: str = "auto") -> Engine:
    """Loads ``model`` (a run directory or a model file) into a runtime.

    Args:
        model: run directory or file.
        engine: a runtime's name; ``auto`` chooses by the file.
        device: where the torch engine computes.

    Raises:
        ModelFileError: no usable model there.
        UsageError: unknown engine, or one that cannot run this file.
        MissingExtraError: the runtime is not installed.
    """
    path = find_model_file(model)
    name = ENGINE_OF_SUFFIX.get(path.suffix, "torch") if engine == "auto" else engine
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; there are: auto, {', '.join(ENGINES)}")
    module_name, _, class_name = ENGINES[name].partition(":")
    try:
        engine_class: Any = getattr(import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"running {path}") from error
    loaded: Engine = engine_class(path, device)
    return loaded
