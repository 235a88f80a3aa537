"""int8 for OpenVINO, by NNCF: the scheme that its processor plug-in computes fastest."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featherlight.engines.exported import LOGITS
from featherlight.errors import FeatherlightError, UsageError, explain_missing
from featherlight.targets.quantized import Damage, Quantized
from featherlight.targets.sensitivity import damage_of

if TYPE_CHECKING:
    from openvino import Model, Node, Output

LAYERS = ("Convolution", "GroupConvolution", "MatMul")


def quantize_openvino(
    float_path: Path, out: Path, calibration: Iterable[NDArray[Any]], *, keep_float: Collection[str] = ()
) -> Quantized:
    """Quantises an OpenVINO IR (or an ONNX file, which OpenVINO reads too) and writes ``out`` and its ``.bin``.

    Args:
        float_path: ``.xml`` with its ``.bin``, or ``.onnx``.
        out: ``.xml`` to write.
        calibration: batches of the file's own input, from the training split.
        keep_float: names of layers that stay float, see :func:`openvino_layers`.

    Raises:
        UsageError: an unknown layer, or no calibration images.
        MissingExtraError: openvino or nncf is missing.
    """
    batches = list(calibration)
    if not batches:
        raise UsageError("there are no calibration images; int8 needs a few from the training split")
    with _explained(float_path):
        model = read_network(float_path)
        quantized = _checked_quantize(model, batches, keep_float)
        write_network(quantized, out)
    layers = openvino_layers(model)
    kept = tuple(name for name in layers if name in keep_float)
    done = tuple(name for name in layers if name not in keep_float)
    return Quantized(out, "nncf", done, kept, (), size_of(float_path), size_of(out))


def openvino_layers(model: Model) -> list[str]:
    """Names of convolutions and linear layers with constant weights, in the order in which they run."""
    outside = _outside(model)
    return [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() in LAYERS and _is_constant(op.input_value(1)) and op.get_friendly_name() not in outside
    ]


def openvino_sensitivity(float_path: Path, quantized_path: Path, calibration: Sequence[NDArray[Any]]) -> list[Damage]:
    """The damage of each layer alone, most harmful first: its int8 weights and input in the float network.

    Args:
        float_path: what was quantised.
        quantized_path: with all layers in int8.
        calibration: batches of the file's own input.
    """
    model, quantized = read_network(float_path), read_network(quantized_path)
    reference = _logits(model, calibration)
    quantized_layers = {op.get_friendly_name(): op for op in quantized.get_ordered_ops()}
    found = []
    for name in openvino_layers(model):
        changed = model.clone()
        layer = next(op for op in changed.get_ordered_ops() if op.get_friendly_name() == name)
        _use_int8(layer, quantized_layers[name])
        found.append(damage_of(name, reference, _logits(changed, calibration)))
    return sorted(found, key=lambda row: -row.error)


def read_network(path: Path) -> Model:
    """Reads an IR or an ONNX file.

    Raises:
        MissingExtraError: openvino is missing.
    """
    with _explained(path):
        from featherlight.engines.openvino import shared_core

        return shared_core().read_model(path)


def write_network(model: Model, out: Path) -> None:
    """Writes ``out`` and the ``.bin`` beside it: both whole, or neither.

    Raises:
        FeatherlightError: they cannot be written.
    """
    import openvino

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem[:20]}-") as folder:
            written = Path(folder) / out.name
            openvino.save_model(model, written, compress_to_fp16=False)
            for suffix in (".bin", ".xml"):
                written.with_suffix(suffix).replace(out.with_suffix(suffix))
    except (OSError, RuntimeError) as error:
        raise FeatherlightError(f"cannot write {out}: {error}") from error


def size_of(path: Path) -> int:
    """Bytes of a file, and of the ``.bin`` of those that have one."""
    parts = [path, path.with_suffix(".bin")] if path.suffix in (".xml", ".param") else [path]
    return sum(part.stat().st_size for part in parts)


def _checked_quantize(model: Model, batches: Sequence[NDArray[Any]], keep_float: Collection[str]) -> Model:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # NNCF makes torch look for CUDA
    import nncf

    layers = openvino_layers(model)
    unknown = [name for name in keep_float if name not in layers]
    if unknown:
        raise UsageError(f"no layer {unknown[0]!r} in this network; there are: {', '.join(layers[:20])}")
    ignored = [*keep_float, *_outside(model)]
    nncf.set_log_level(40)
    with redirect_stdout(StringIO()):  # its progress bar; standard output is for results
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,  # symmetric weights, activations with a zero point
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False) if ignored else None,
        )


def _outside(model: Model) -> set[str]:
    """What makes the network's input out of an image, and what comes after the logits."""
    ops = model.get_ordered_ops()
    first = next((op for op in ops if op.get_type_name() in LAYERS[:2] and _is_constant(op.input_value(1))), None)
    before = set() if first is None else _above(first.input_value(0).get_node())
    logits = next((op for op in ops for out in op.outputs() if LOGITS in out.get_names()), None)
    behind = set() if logits is None else _below(logits)
    return before | behind


def _above(node: Node) -> set[str]:
    found, waiting = set[str](), [node]
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() not in found and op.get_type_name() not in ("Parameter", "Constant"):
            found.add(op.get_friendly_name())
            waiting += [value.get_node() for value in op.input_values()]
    return found


def _below(node: Node) -> set[str]:
    found, waiting = set[str](), _users(node)
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() not in found and op.get_type_name() != "Result":
            found.add(op.get_friendly_name())
            waiting += _users(op)
    return found


def _users(node: Node) -> list[Node]:
    return [target.get_node() for out in node.outputs() for target in out.get_target_inputs()]


def _is_constant(value: Output) -> bool:
    """Whether nothing above is an input of the network; weights may be reshaped or scaled constants."""
    node = value.get_node()
    if node.get_type_name() == "Parameter":
        return False
    return all(_is_constant(above) for above in node.input_values())


def _use_int8(layer: Node, quantized: Node) -> None:
    """Gives a float layer the weights and the input range of the quantised one."""
    from openvino import opset13 as ops

    source = quantized.input_value(0).get_node()
    if source.get_type_name() == "FakeQuantize":
        ends = [ops.constant(_value(end)) for end in source.input_values()[1:]]
        levels = source.get_attributes()["levels"]
        layer.input(0).replace_source_output(ops.fake_quantize(layer.input_value(0), *ends, levels).output(0))
    weights = ops.constant(_value(quantized.input_value(1)).astype(np.float32))
    layer.input(1).replace_source_output(weights.output(0))


def _value(output: Output) -> NDArray[Any]:
    """What a constant part of a graph comes to."""
    import openvino
    from openvino import opset13 as ops

    from featherlight.engines.openvino import shared_core

    model = openvino.Model([ops.result(output)], [], "constant")
    value: NDArray[Any] = shared_core().compile_model(model.clone(), "CPU")([])[0]
    return value


def _logits(model: Model, batches: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    from featherlight.engines.openvino import shared_core

    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = [output for output in compiled.outputs if LOGITS in output.get_names()] or compiled.outputs
    return np.concatenate([compiled(batch)[outputs[0]] for batch in batches])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"quantising {path} for OpenVINO") from error
