"""The contract of an engine, the table of those there are, and images run through one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UnreadableImageError, UsageError, explain_missing
from featherlight.images import resize_image, trim_image
from featherlight.model_file import ModelCard, find_model_file

# Names, not imports: an engine is loaded when it is asked for, so that the base never needs its runtime.
# The PyTorch engine builds networks and therefore lives in the torch half.
ENGINES = {
    "torch": "featherlight.models.engine:TorchEngine",
    "onnxruntime": "featherlight.engines.onnxruntime:OnnxRuntimeEngine",
    "openvino": "featherlight.engines.openvino:OpenVinoEngine",
    "ncnn": "featherlight.engines.ncnn:NcnnEngine",
    "litert": "featherlight.engines.litert:LiteRtEngine",
    "executorch": "featherlight.engines.executorch:ExecuTorchEngine",
}
ENGINES_OF_SUFFIX = {  # the preferred one first
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".param": ("ncnn",),
    ".tflite": ("litert",),
    ".pte": ("executorch",),
}
MODULES = {"litert": "ai_edge_litert"}  # of runtimes whose Python module is called otherwise
_MODEL_FILE_ENGINES = ("torch",)
MAX_WIDENED = 25_000_000  # pixels that an engine may make of a narrow image; each takes 35 bytes there
LARGE_BATCH, SMALL_BATCH = 64, 8  # images in memory at once; the small one where they have their original size


class Engine(Protocol):
    """A loaded model in some runtime.

    Attributes:
        name: of the runtime, e.g. ``torch``.
        card: what the model file says.
        resizes: the model takes images of any size and brings them to its own itself.
    """

    name: str
    card: ModelCard
    resizes: bool

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Computes logits (N, num_classes) of images that are not normalised.

        Args:
            images: uint8 (N, S, S, 3), resized; if the engine ``resizes``, (N, height, width, 3).
        """
        ...


def open_engine(model: str | Path, engine: str = "auto", device: str = "auto", threads: int | None = None) -> Engine:
    """Loads ``model`` (a run directory, a model file, an exported file or folder) into a runtime.

    Args:
        model: run directory, folder or file.
        engine: a runtime's name; ``auto`` chooses by the file.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.

    Raises:
        ModelFileError: no usable model there.
        UsageError: unknown engine, or one that cannot run this file.
        MissingExtraError: the runtime is not installed.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; at least 1 is needed")
    path = find_model_file(model)
    module_name, _, class_name = ENGINES[_choose(path, engine)].partition(":")
    try:
        engine_class: Any = getattr(import_module(module_name), class_name)
        loaded: Engine = engine_class(path, device, threads)
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"running {path}") from error
    return loaded


def _choose(path: Path, engine: str) -> str:
    if engine != "auto" and engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; there are: auto, {', '.join(ENGINES)}")
    able = ENGINES_OF_SUFFIX.get(path.suffix, _MODEL_FILE_ENGINES)
    if engine == "auto":
        return able[0] if len(able) == 1 else next((name for name in able if find_spec(name) is not None), able[0])
    if engine not in able:
        advice = "" if path.suffix in ENGINES_OF_SUFFIX else f"; make it a file for others: featherlight export {path}"
        raise UsageError(f"the {engine} engine cannot run {path}; its engine is: {' or '.join(able)}{advice}")
    return engine


def prepare_image(engine: Engine, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the engine takes of an image (H, W, 3): resized, unless it resizes itself; then what it looks at.

    Raises:
        UnreadableImageError: the engine would need gigabytes for it.
    """
    preprocessing = engine.card.preprocessing
    if not engine.resizes:
        return resize_image(image, preprocessing)
    trimmed = trim_image(image, preprocessing)
    height, width = trimmed.shape[:2]
    if working_pixels(engine, height, width) > max(height * width, MAX_WIDENED):
        raise UnreadableImageError("image", f"too large: {width} x {height} pixels are too long for this model")
    return image if trimmed.shape == image.shape else trimmed.copy()  # so that the whole is let go


def working_pixels(engine: Engine, height: int, width: int) -> int:
    """Pixels that an engine has in memory for an image; one that resizes brings all rows to its own width first."""
    return height * (max(width, engine.card.preprocessing.input_size) if engine.resizes else width)


def batch_size_for(engine: Engine) -> int:
    """How many prepared images may be in memory at once."""
    return SMALL_BATCH if engine.resizes else LARGE_BATCH


def compute_logits(engine: Engine, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Logits (N, num_classes) of prepared images; neighbours of one size are computed together."""
    parts = [engine.logits(np.stack(group)) for group in _by_shape(images)]
    return np.concatenate(parts) if parts else np.zeros((0, len(engine.card.classes)), np.float32)


def _by_shape(images: Sequence[NDArray[np.uint8]]) -> Iterable[list[NDArray[np.uint8]]]:
    return (list(group) for _, group in groupby(images, key=lambda image: image.shape))
