"""int8 for ONNX Runtime: weights per channel, activations per tensor, as pairs of QuantizeLinear and DequantizeLinear.

Activations are uint8 with a zero point, weights int8 without: the pair for which processors with VNNI have an
instruction, and ONNX Runtime its fastest kernels. On x86 processors without it, 16-bit sums of two products can
saturate; ``reduce_range`` keeps weights to 7 bits there. The logits stay float, so that two classes rarely tie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UsageError, explain_missing
from featherlight.files import atomic_path
from featherlight.targets.learnt_ranges import learnt_tensor_ranges
from featherlight.targets.onnx_network import LAYERS, layer_names, load_network, nodes_outside
from featherlight.targets.quantized import Method, Quantized

if TYPE_CHECKING:
    from onnx import ModelProto

Ranges = Mapping[str, tuple[float, float]]  # of a tensor: lowest and highest value
Batches = Iterable[NDArray[Any]]  # of the file's own input

# What ONNX Runtime computes in int8 on the processor. All else (hard swish, softmax, means) stays float.
_QUANTIZED_TYPES = (
    *LAYERS, "Add", "Concat", "Clip", "Relu", "MaxPool", "AveragePool", "Pad",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Gather",
)  # fmt: skip
PERCENTILE = 99.99


def quantize_onnx(
    float_path: Path,
    out: Path,
    calibration: Batches,
    *,
    keep_float: Collection[str] = (),
    method: Method = "minmax",
    ranges: Ranges | None = None,
    learnt: Mapping[str, Any] | None = None,
    reduce_range: bool = False,
) -> Quantized:
    """Quantises the network in an ONNX file; resizing and normalisation in front of it stay as they are.

    Args:
        float_path: the float file.
        out: file to write.
        calibration: a few batches of the file's own input, from the training split. Not read when ``ranges`` are given.
        keep_float: names of layers that stay float, see :func:`featherlight.targets.onnx_network.layer_names`.
        method: how the range of an activation is chosen: lowest and highest value seen, all but the rarest 0.01 %, or
            the range that keeps the distribution's entropy.
        ranges: of activations, from :func:`activation_ranges`.
        learnt: ``quantization`` in the provenance of a model that was fine-tuned for int8; its ranges come first.
        reduce_range: weights of 7 bits, for x86 processors without VNNI.

    Raises:
        UsageError: an unknown layer, no calibration images, an old operator set.
        MissingExtraError: onnx or onnxruntime is missing.
    """
    with _explained(float_path):
        network = load_network(float_path)
        known = ranges if ranges is not None else activation_ranges(float_path, calibration, method)
        found = {} if learnt is None else learnt_tensor_ranges(network, learnt)
        quantized = quantized_model(network, {**known, **found}, keep_float=keep_float, reduce_range=reduce_range)
        with atomic_path(out) as temporary:
            temporary.write_bytes(quantized.SerializeToString())
    layers = [name for name in layer_names(network) if name not in keep_float]
    kept = tuple(name for name in layer_names(network) if name in keep_float)
    unfused = layers_in_float(out, layers)
    how = "learnt" if found else method
    return Quantized(out, how, tuple(layers), kept, tuple(unfused), float_path.stat().st_size, out.stat().st_size)


def quantized_model(
    network: ModelProto,
    ranges: Ranges,
    *,
    keep_float: Collection[str] = (),
    only: Sequence[str] | None = None,
    reduce_range: bool = False,
) -> ModelProto:
    """The network with quantised layers.

    Args:
        network: from :func:`featherlight.targets.onnx_network.load_network`.
        ranges: of its activations.
        keep_float: layers that stay float.
        only: these layers alone are quantised, and nothing between them.
        reduce_range: weights of 7 bits.

    Raises:
        UsageError: an unknown layer.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    _check_layers(network, [*keep_float, *(only or ())])
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    values = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, values),
        nodes_to_quantize=list(only or ()),
        nodes_to_exclude=[*keep_float, *nodes_outside(network)],
        op_types_to_quantize=list(_QUANTIZED_TYPES),
        extra_options={
            "WeightSymmetric": True,
            "ActivationSymmetric": False,
            "MatMulConstBOnly": True,
            "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
        },
    )
    quantizer.quantize_model()
    model: ModelProto = quantizer.model.model
    del model.metadata_props[:]  # the quantiser adds a note of its own
    model.metadata_props.extend(network.metadata_props)
    return model


def activation_ranges(
    float_path: Path, calibration: Batches, method: Method = "minmax"
) -> dict[str, tuple[float, float]]:
    """Runs the float network on calibration images and chooses a range for every tensor.

    Raises:
        UsageError: there are no images.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    options = {"percentile": PERCENTILE, "symmetric": False} if method == "percentile" else {"symmetric": False}
    with _explained(float_path), tempfile.TemporaryDirectory(prefix="featherlight-int8-") as folder:
        prepared = Path(folder) / "float.onnx"
        network = load_network(float_path)
        onnx.save(network, prepared)
        calibrator = create_calibrator(
            str(prepared), list(_QUANTIZED_TYPES), str(Path(folder) / "watched.onnx"), methods[method],
            extra_options=options,
        )  # fmt: skip
        count = 0
        with redirect_stdout(StringIO()):  # the calibrator prints; standard output is for results
            for batch in calibration:  # one at a time: it keeps all activations of what it is handed
                calibrator.collect_data(_Reader(network.graph.input[0].name, batch))
                count += len(batch)
            if not count:
                raise UsageError("there are no calibration images; int8 needs a few from the training split")
            found = calibrator.compute_data()
    return {name: tuple(float(np.min(end)) for end in data.range_value) for name, data in found.items()}  # type: ignore[misc]


def layers_in_float(path: Path, layers: Collection[str]) -> list[str]:
    """Which of the quantised layers ONNX Runtime computes in float on this machine after its own rewriting."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="featherlight-int8-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    in_float = {node.name for node in graph.node if node.op_type in (*LAYERS, "FusedConv", "FusedGemm", "FusedMatMul")}
    return [name for name in layers if name in in_float]


class _Reader:
    """Hands one batch to ONNX Runtime's calibrator."""

    def __init__(self, name: str, batch: NDArray[Any]) -> None:
        self._inputs: list[dict[str, NDArray[Any]]] = [{name: batch}]

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return self._inputs.pop() if self._inputs else None

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return iter(self.get_next, None)


def _check_layers(network: ModelProto, names: Collection[str]) -> None:
    known = layer_names(network)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no layer {unknown[0]!r} in this network; there are: {', '.join(known[:20])}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"quantising {path}") from error
