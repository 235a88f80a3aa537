"""A program of torch.export to a .tflite of LiteRT: ``python litert_convert.py JOB ANSWER``.

Runs in the toolchain's own environment and imports nothing of Featherlight. The job: ``program`` (.pt2) and ``out``
make the float file. ``float`` (.tflite), ``calibration`` (.npy, float32 (N, C, S, S)), ``out`` and ``keep`` make the
int8 file of it, in which the layers in ``keep`` stay in float. With ``logits`` (.npz) in place of ``out``: logits of
the first images in float, and with each layer alone in int8, but for the last: where that stays in float, XNNPACK keeps
the logits to itself.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

IMAGES_COMPARED = 32
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
SIGNATURE = "serving_default"


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Does the job and says which layers there are."""
    if "program" in job:
        _convert(job["program"], job["out"])
        return {"layers": _layers(job["out"])}
    layers = _layers(job["float"])
    images = np.load(job["calibration"])
    ranges = _ranges(job["float"], images)
    if "logits" in job:
        layers = layers[:-1]
        np.savez(job["logits"], allow_pickle=False, **_compare(job["float"], layers, ranges, images[:IMAGES_COMPARED]))
    else:
        _quantize(job["float"], job["out"], ranges, job["keep"])
    return {"layers": layers}


def _convert(program: str, out: str) -> None:
    import litert_torch
    import torch

    exported = torch.export.load(program)
    network, (image,) = exported.module(), exported.example_inputs[0]

    class Named(torch.nn.Module):  # the file's input takes its name from here, and so do its layers
        __module__, __qualname__ = "network", "layer"

        def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: A002
            found: dict[str, torch.Tensor] = network(input)
            return found

    litert_torch.convert(Named().eval(), sample_kwargs={"input": image}).export(out)


def _plain(model: str) -> Interpreter:
    """Without XNNPACK, which hides the operators, and cannot run every mixture."""
    found = Interpreter(
        model_path=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    found.allocate_tensors()
    return found


def _layers(model: str) -> list[str]:
    """Names of what the convolutions and linear layers give, in the order in which they run."""
    plain = Interpreter(
        model_path=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    plain.allocate_tensors()
    names = {tensor["index"]: tensor["name"] for tensor in plain.get_tensor_details()}
    return [names[int(op["outputs"][0])] for op in plain._get_ops_details() if op["op_name"] in LAYERS]


def _ranges(model: str, images: np.ndarray[Any, Any]) -> Any:
    """Lowest and highest of each tensor.

    ``Quantizer.calibrate`` would take a running mean: of images given class by class, the last class counts most, and
    what the others give is cut off.
    """
    mode = calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    measured = calibrator.CalibrationInterpreter(model, mode, qsv_utils.min_max_update)
    run = measured.get_signature_runner(SIGNATURE)
    for image in images:
        run(input=image[None])
    return measured.get_calibration_results()


def _quantize(model: str, out: str, ranges: Any, kept: list[str]) -> None:
    wanted = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    for name in kept:
        _leave(wanted, _exactly(name), qtyping.TFLOperationName.ALL_SUPPORTED)
    _leave_ends(wanted)
    Path(out).unlink(missing_ok=True)
    wanted.quantize(ranges).export_model(out)


def _leave_ends(wanted: quantizer.Quantizer) -> None:
    """The file takes and gives float32, as every exported file does."""
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        _leave(wanted, ".*", end)


def _leave(wanted: quantizer.Quantizer, scope: str, operation: qtyping.TFLOperationName) -> None:
    wanted.update_quantization_recipe(scope, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _compare(model: str, layers: list[str], ranges: Any, images: np.ndarray[Any, Any]) -> dict[str, Any]:
    found = {"float": _logits(model, images)}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(layers):
            alone = quantizer.Quantizer(model)
            alone.add_static_config(_exactly(name), qtyping.TFLOperationName.ALL_SUPPORTED, 8, 8)
            path = str(Path(folder) / f"{number}.tflite")
            alone.quantize(ranges).export_model(path)
            found[name] = _logits(path, images)
    return found


def _exactly(name: str) -> str:
    return f"^{re.escape(name)};?$"


def _logits(model: str, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    run = _plain(model).get_signature_runner(SIGNATURE)
    return np.concatenate([run(input=image[None])["logits"] for image in images])


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
