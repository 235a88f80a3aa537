"""The LiteRT engine: runs ``.tflite`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from featherlight.engines.one_image import OneImageEngine


class LiteRtEngine(OneImageEngine):
    """Runs a ``.tflite`` on the CPU, by XNNPACK, which is LiteRT's default there."""

    name = "litert"
    files = (".tflite",)

    def open(self, path: Path, threads: int | None) -> None:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self._input = given["index"]
        self._output = _find_output(outputs)

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output)[0], np.float32)
