"""The OpenVINO target: an IR of two files, made of what the ONNX target writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import openvino

from featherlight.engines.exported import IMAGE, TENSOR, ExportedCard, Input
from featherlight.engines.openvino import RT_INFO, shared_core
from featherlight.targets.base import Draft
from featherlight.targets.onnx import FILE_NAME, OnnxTarget


class OpenVinoTarget:
    """Writes ``model.xml`` and ``model.bin``; see :class:`featherlight.targets.base.Target`."""

    name = "openvino"
    engine = "openvino"
    file_names: tuple[str, ...] = ("model.xml", "model.bin")
    packages: tuple[str, ...] = ("onnxscript", "openvino")
    int8_packages: tuple[str, ...] = ("nncf",)
    inputs: tuple[Input, ...] = (IMAGE, TENSOR)
    precisions: tuple[str, ...] = ("float", "half", "int8")
    auto_form: str | None = None
    runs_here = True
    is_public = False

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        with TemporaryDirectory(dir=folder, prefix=".onnx-") as inside:
            OnnxTarget().write(replace(draft, half_weights=False), Path(inside))
            model = openvino.convert_model(Path(inside) / FILE_NAME)
            path = folder / self.file_names[0]
            save_with_metadata(model, path, draft.exported, half_weights=draft.half_weights)

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        path = folder / self.file_names[0]
        with TemporaryDirectory(dir=folder, prefix=".described-") as inside:  # the old weights are read meanwhile
            save_with_metadata(shared_core().read_model(path), Path(inside) / path.name, exported)
            for name in self.file_names:
                (Path(inside) / name).replace(folder / name)


def save_with_metadata(
    model: openvino.Model, path: Path, exported: ExportedCard, *, half_weights: bool = False
) -> None:
    """Writes the IR; its metadata stands in the runtime information, under ``featherlight``."""
    for name, text in exported.to_metadata().items():
        model.set_rt_info(text, [RT_INFO, name])
    openvino.save_model(model, path, compress_to_fp16=half_weights)
