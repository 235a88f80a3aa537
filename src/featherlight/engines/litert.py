"""The LiteRT engine: runs ``.tflite`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from featherlight.engines.exported import LOGITS
from featherlight.engines.one_image import OneImageEngine
from featherlight.errors import ModelFileError

SIGNATURE = "serving_default"


class LiteRtEngine(OneImageEngine):
    """Runs a ``.tflite`` on the CPU, by XNNPACK, which is LiteRT's default there."""

    name = "litert"
    files = (".tflite",)

    def open(self, path: Path, threads: int | None) -> None:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        names = self._interpreter.get_signature_list()
        if names.get(SIGNATURE, {}).get("inputs") != ["input"] or LOGITS not in names[SIGNATURE]["outputs"]:
            raise ModelFileError(f"{path}: its inputs and outputs are not those that featherlight export writes")
        self._run = self._interpreter.get_signature_runner(SIGNATURE)

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        return np.array(self._run(input=image[None])[LOGITS][0], np.float32)
