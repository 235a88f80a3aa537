"""How much each layer loses by int8: quantised alone, or all others quantised, judged by the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.exported import LOGITS
from featherlight.targets.learnt_ranges import learnt_tensor_ranges
from featherlight.targets.onnx_network import layer_names, load_network
from featherlight.targets.quantize_onnx import Ranges, quantized_model
from featherlight.targets.quantized import Damage

if TYPE_CHECKING:
    from onnx import ModelProto

Mode = Literal["only", "all_but"]


def layer_sensitivity(
    float_path: Path,
    calibration: Sequence[NDArray[Any]],
    ranges: Ranges,
    *,
    mode: Mode = "only",
    learnt: Mapping[str, Any] | None = None,
) -> list[Damage]:
    """The damage of each layer, most harmful first.

    Args:
        float_path: the float ONNX file.
        calibration: batches of its own input.
        ranges: of activations, from :func:`featherlight.targets.quantize_onnx.activation_ranges`.
        mode: ``only``: each layer is quantised alone, and its damage is what that does to the logits. ``all_but``: all
            layers but this one are quantised, and its damage is what leaving it in float repairs.
        learnt: ranges of a fine-tuned model, see :func:`featherlight.targets.quantize_onnx.quantize_onnx`.

    Returns:
        One entry for each layer.
    """
    network = load_network(float_path)
    if learnt is not None:
        ranges = {**ranges, **learnt_tensor_ranges(network, learnt)}
    layers = layer_names(network)
    reference = compute_logits(network, calibration)
    if mode == "only":
        found = [
            damage_of(name, reference, compute_logits(quantized_model(network, ranges, only=[name]), calibration))
            for name in layers
        ]
    else:
        whole = damage_of("", reference, compute_logits(quantized_model(network, ranges), calibration))
        rest = [
            damage_of(name, reference, compute_logits(quantized_model(network, ranges, keep_float=[name]), calibration))
            for name in layers
        ]
        found = [Damage(row.layer, whole.error - row.error, whole.changed - row.changed) for row in rest]
    return sorted(found, key=lambda row: -row.error)


def compute_logits(model: ModelProto, batches: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Logits (N, K) of batches of the model's own input, by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]
    wanted = LOGITS if LOGITS in outputs else outputs[0]
    return np.concatenate([session.run([wanted], {name: batch})[0] for batch in batches])


def damage_of(layer: str, reference: NDArray[np.float32], logits: NDArray[np.float32]) -> Damage:
    """How far these logits (N, K) are from those of the float network."""
    spread = float(reference.var()) or 1.0
    error = float(np.mean((logits - reference) ** 2)) / spread
    return Damage(layer, error, float(np.mean(logits.argmax(1) != reference.argmax(1))))
