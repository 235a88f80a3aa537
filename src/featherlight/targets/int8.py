"""A float file to an int8 file that passes the gate, whatever the target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.targets.onnx_network import load_network
from featherlight.targets.quantize_onnx import activation_ranges, quantize_onnx, quantized_model
from featherlight.targets.quantized import Damage, Held, Method, Quantized, Verdict, hold_accuracy
from featherlight.targets.sensitivity import compute_logits, damage_of, layer_sensitivity
from featherlight.targets.tooled import TooledTarget

Gate = Callable[[Path], Verdict]
Latency = Callable[[Path], float]
Ranges = dict[str, tuple[float, float]]
SENSITIVITY_IMAGES = 32


def int8_onnx(
    float_path: Path,
    out: Path,
    calibration: Sequence[NDArray[Any]],
    gate: Gate,
    *,
    learnt: Mapping[str, Any] | None = None,
    latency: Latency | None = None,
) -> Held:
    """Writes ``out`` for ONNX Runtime; layers stay in float as far as the gate asks for it.

    Args:
        float_path: float ONNX file.
        out: file to write; holds the chosen attempt, or the last one when none passes.
        calibration: batches of the file's own input, from the training split.
        gate: judges a file.
        learnt: ``quantization`` in the provenance of a model that was fine-tuned for int8.
        latency: milliseconds of one image.

    Raises:
        UsageError: no calibration images.
        MissingExtraError: onnx or onnxruntime is missing.
    """
    method, ranges = choose_ranges(float_path, calibration, ("minmax",) if learnt else get_args(Method))
    return hold_accuracy(
        lambda kept: quantize_onnx(float_path, out, (), keep_float=kept, method=method, ranges=ranges, learnt=learnt),
        gate,
        lambda: _told(layer_sensitivity(float_path, _first(calibration), ranges, learnt=learnt)),
        latency,
    )


def int8_openvino(
    float_path: Path, out: Path, calibration: Sequence[NDArray[Any]], gate: Gate, *, latency: Latency | None = None
) -> Held:
    """Writes ``out`` (``.xml``) and its ``.bin`` for OpenVINO, by NNCF; else as :func:`int8_onnx`."""
    from featherlight.targets.quantize_openvino import openvino_sensitivity, quantize_openvino

    return hold_accuracy(
        lambda kept: quantize_openvino(float_path, out, calibration, keep_float=kept),
        gate,
        lambda: _told(openvino_sensitivity(float_path, out, _first(calibration))),
        latency,
    )


def int8_tooled(
    target: TooledTarget,
    source: Mapping[str, str],
    out: Path,
    calibration: Sequence[NDArray[Any]],
    gate: Gate,
    *,
    latency: Latency | None = None,
) -> Held:
    """Writes ``out`` by a converter in an environment of its own; else as :func:`int8_onnx`.

    Args:
        target: whose converter it is.
        source: what :meth:`~featherlight.targets.tooled.TooledTarget.write_source` gave.
        out: file to write.
        calibration: batches of normalised images.
        gate: judges a file.
        latency: milliseconds of one image.
    """
    return hold_accuracy(
        lambda kept: quantize_tooled(target, source, out, calibration, keep_float=kept),
        gate,
        lambda: _told(_damages_tooled(target, source, calibration)),
        latency,
    )


def quantize_tooled(
    target: TooledTarget,
    source: Mapping[str, str],
    out: Path,
    calibration: Sequence[NDArray[Any]],
    *,
    keep_float: Collection[str] = (),
) -> Quantized:
    """One attempt: these layers stay in float; arguments as of :func:`int8_tooled`."""
    job = {**source, "out": str(out), "keep": sorted(keep_float)}
    layers = _convert(target, job, calibration)["layers"]
    done, kept = (tuple(name for name in layers if (name in keep_float) is left) for left in (False, True))
    before = sum(Path(file).stat().st_size for file in source.values())
    return Quantized(out, "minmax", done, kept, (), before, out.stat().st_size)


def _damages_tooled(
    target: TooledTarget, source: Mapping[str, str], calibration: Sequence[NDArray[Any]]
) -> list[Damage]:
    with TemporaryDirectory(prefix="featherlight-logits-") as place:
        logits = Path(place) / "logits.npz"
        layers = _convert(target, {**source, "logits": str(logits)}, calibration)["layers"]
        with np.load(logits) as found:
            return [damage_of(name, found["float"], found[name]) for name in layers]


def _convert(target: TooledTarget, job: Mapping[str, Any], calibration: Sequence[NDArray[Any]]) -> dict[str, Any]:
    with TemporaryDirectory(prefix="featherlight-int8-") as place:
        images = Path(place) / "calibration.npy"
        np.save(images, np.concatenate(list(calibration)))
        return target.convert({**job, "calibration": str(images)})


def choose_ranges(
    float_path: Path, calibration: Sequence[NDArray[Any]], methods: Sequence[Method]
) -> tuple[Method, Ranges]:
    """The way of choosing activation ranges that changes the logits of the calibration images least, and its ranges."""
    found = {method: activation_ranges(float_path, calibration, method) for method in methods}
    if len(found) == 1:
        return next(iter(found.items()))
    network, few = load_network(float_path), _first(calibration)
    reference = compute_logits(network, few)
    errors = {
        method: damage_of("", reference, compute_logits(quantized_model(network, ranges), few)).error
        for method, ranges in found.items()
    }
    best = min(errors, key=errors.__getitem__)
    note(f"activation ranges: {best} ({', '.join(f'{name} {error:.2g}' for name, error in errors.items())})")
    return best, found[best]


def _told(damages: list[Damage]) -> list[Damage]:
    note("int8 in all layers does not pass; the most harmful ones stay in float")
    return damages


def _first(batches: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """As many batches as hold enough images to compare logits."""
    chosen, count = list[NDArray[Any]](), 0
    for batch in batches:
        if count >= SENSITIVITY_IMAGES:
            break
        chosen.append(batch)
        count += len(batch)
    return chosen
