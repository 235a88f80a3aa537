"""The ncnn engine: a network of two files, for small processors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.exported import LOGITS
from featherlight.engines.one_image import OneImageEngine
from featherlight.errors import ModelFileError

INPUT = "input"  # blobs, as featherlight export names them


class NcnnEngine(OneImageEngine):
    """Runs ``.param`` and ``.bin`` on the CPU, in float32.

    ncnn by itself computes in half precision where the processor can. Answers would differ from machine to machine, so
    it is told not to.
    """

    name = "ncnn"
    files = (".param", ".bin")

    def open(self, path: Path, threads: int | None) -> None:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        import ncnn

        self._net = ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if threads is not None:
            options.num_threads = threads
        if self._net.load_param(str(path)) or self._net.load_model(str(path.with_suffix(".bin"))):
            raise ModelFileError(f"{path}: is no ncnn network")
        names = {*self._net.input_names(), *self._net.output_names()}
        if not {INPUT, LOGITS} <= names:
            raise ModelFileError(f"{path}: has no {INPUT} and {LOGITS}; featherlight export writes them")

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.one_image.OneImageEngine`."""
        import ncnn

        extractor = self._net.create_extractor()
        extractor.input(INPUT, ncnn.Mat(image))  # the array must outlive it
        code, logits = extractor.extract(LOGITS)
        if code:
            raise RuntimeError(f"code {code}")
        return np.array(logits, np.float32).reshape(-1)
