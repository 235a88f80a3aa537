"""The ONNX Runtime engine: needs neither torch nor the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from featherlight.engines.exported import IMAGE, LOGITS, read_exported_card
from featherlight.engines.onnx_file import scan_onnx
from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.images import normalize

_FATAL = 4  # the runtime's log; what goes wrong is raised, too


class OnnxRuntimeEngine:
    """Runs an exported ONNX file on the CPU.

    Raises:
        ModelFileError: the file is damaged, foreign, hostile, or uses operators that this runtime does not have.
        UsageError: a device other than the CPU.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"the {self.name} engine computes on the CPU, not on {device!r}")
        exported = read_exported_card(path, scan_onnx(path).metadata)
        self.card = exported.card
        self.exported = exported
        self.resizes = exported.input == IMAGE
        self._path = path
        self._session = _open_session(path, threads, keeps_memory=not self.resizes)
        inputs, outputs = self._session.get_inputs(), [output.name for output in self._session.get_outputs()]
        if [value.name for value in inputs] not in (["image"], ["input"]) or LOGITS not in outputs:
            raise ModelFileError(f"{path}: its inputs and outputs are not those that featherlight export writes")
        self._input = inputs[0].name

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        given = images if self.resizes else normalize(images, self.card.preprocessing)
        try:
            (logits,) = self._session.run([LOGITS], {self._input: given})
        except Exception as error:  # its own exceptions share no class
            raise FeatherlightError(f"{self._path}: {self.name} could not run it: {_shown(error)}") from error
        return np.asarray(logits, np.float32)


def _open_session(path: Path, threads: int | None, *, keeps_memory: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Where images of any size come, what the largest ever needed would be kept for good, and a plan for every size.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
    options.log_severity_level = _FATAL
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileError(f"{path}: ONNX Runtime cannot open it: {_shown(error)}") from error


def _shown(error: Exception) -> str:
    return ascii(" ".join(str(error).split())[:300])[1:-1]
