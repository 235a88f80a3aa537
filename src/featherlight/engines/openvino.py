"""The OpenVINO engine: runs OpenVINO IR and ONNX files, without torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from featherlight.engines.exported import IMAGE, LOGITS, read_exported_card
from featherlight.engines.onnx_file import scan_onnx
from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.images import normalize

RT_INFO = "featherlight"  # where the metadata stands in the IR
MAX_XML_BYTES = 64 * 2**20
PRECISIONS = ("f32", "bf16")


@cache
def shared_core() -> openvino.Core:
    """The one OpenVINO core of the process, which stays to its end.

    The CPU plugin of each core gives the thread's signal handlers a stack, and when it goes puts back the one before.
    Of two that go in the order they came, the second puts back the first one's, which is freed by then: the next signal
    that has a handler, Ctrl-C for one, is a segmentation fault (``sigstack_manager.cpp``; seen in OpenVINO 2026.4).
    """
    return openvino.Core()


class OpenVinoEngine:
    """Runs an exported file on the CPU.

    Computes in float32 unless the export was verified in bfloat16: OpenVINO by itself takes bfloat16 where the
    processor has it, and then answers differ from machine to machine.

    Args:
        path: an ``.xml`` with its ``.bin``, or an ``.onnx``.
        device: ``auto`` or ``cpu``.
        threads: None: OpenVINO's own choice.
        precision: ``f32`` or ``bf16``; None: as the file's notes say, else ``f32``.

    Raises:
        ModelFileError: the file is damaged, foreign, hostile, or uses operators that this runtime does not have.
        UsageError: a device other than the CPU, or an unknown precision.
    """

    name = "openvino"

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, precision: str | None = None
    ) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"the {self.name} engine computes on the CPU, not on {device!r}")
        model, metadata = _read_onnx(path) if path.suffix == ".onnx" else _read_ir(path)
        self.exported = read_exported_card(path, metadata)
        self.card = self.exported.card
        self.resizes = self.exported.input == IMAGE
        self._path = path
        precision = precision or str(self.exported.notes.get("compute", "f32"))
        if precision not in PRECISIONS:
            raise UsageError(f"precision {precision[:40]!r} does not exist; choose one of {', '.join(PRECISIONS)}")
        settings = {"INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            self._request = shared_core().compile_model(model, "CPU", settings).create_infer_request()
            self._output = self._request.model_outputs.index(
                next(output for output in self._request.model_outputs if LOGITS in output.get_names())
            )
        except StopIteration:
            raise ModelFileError(f"{path}: has no output {LOGITS!r}; featherlight export writes one") from None
        except Exception as error:
            raise ModelFileError(f"{path}: OpenVINO cannot open it: {_shown(error)}") from error

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        given = images if self.resizes else normalize(images, self.card.preprocessing)
        try:
            self._request.infer([given], share_inputs=True)
            return np.array(self._request.get_output_tensor(self._output).data, np.float32)
        except Exception as error:
            raise FeatherlightError(f"{self._path}: {self.name} could not run it: {_shown(error)}") from error


def _read_onnx(path: Path) -> tuple[openvino.Model, dict[str, str]]:
    metadata = scan_onnx(path).metadata
    return _read(path), metadata


def _read_ir(path: Path) -> tuple[openvino.Model, dict[str, str]]:
    weights = path.with_suffix(".bin")
    if not weights.is_file() or weights.resolve().parent != path.resolve().parent:
        raise ModelFileError(f"{path}: its weights {weights.name} are not beside it")
    if path.stat().st_size > MAX_XML_BYTES:
        raise ModelFileError(f"{path}: larger than {MAX_XML_BYTES // 2**20} MiB, which no network's description is")
    model = _read(path)
    if not model.has_rt_info([RT_INFO]):
        return model, {}
    return model, {name: str(value) for name, value in model.get_rt_info([RT_INFO]).value.items()}


def _read(path: Path) -> openvino.Model:
    try:
        return shared_core().read_model(path)
    except Exception as error:
        raise ModelFileError(f"{path}: OpenVINO cannot read it: {_shown(error)}") from error


def _shown(error: Exception) -> str:
    return ascii(" ".join(str(error).split())[:300])[1:-1]
