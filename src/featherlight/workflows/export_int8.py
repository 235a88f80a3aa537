"""The int8 step of an export: layers stay in float as far as the gate asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from featherlight.cost.latency import measure_latency
from featherlight.engines import open_engine
from featherlight.targets.base import Draft, Target
from featherlight.targets.int8 import int8_onnx, int8_openvino, int8_tooled
from featherlight.targets.quantized import Held
from featherlight.targets.tooled import TooledTarget
from featherlight.verification import Verification
from featherlight.workflows.calibration import calibration_batches
from featherlight.workflows.verify import Reference, compare_engine

LATENCY_BUDGET_S = 0.5


def quantize_export(
    draft: Draft,
    float_folder: Path,
    folder: Path,
    target: Target,
    reference: Reference,
    data: str | Path | None,
) -> tuple[Verification, tuple[str, ...]]:
    """Makes the int8 files.

    Args:
        draft: what is to be written.
        float_folder: an empty folder, for float files on the way.
        folder: where the int8 files go.
        target: what writes them.
        reference: what the model says about the images to compare on.
        data: images to calibrate with, their training split; None: those the model was trained on.

    Returns:
        The verification of the files in ``folder``, and what was done, in lines.
    """
    name, exported = target.file_names[0], draft.exported
    size = exported.card.preprocessing.input_size

    def gate(path: Path) -> Verification:
        target.describe(path.parent, exported)
        return compare_engine(open_engine(path, target.engine), reference, exported.card.classes)

    def latency(path: Path) -> float:
        engine = open_engine(path, target.engine)
        return measure_latency(lambda: engine.logits(np.zeros((1, size, size, 3), np.uint8)), LATENCY_BUDGET_S).p50_ms

    calibration = calibration_batches(exported.card, data, input=exported.input)
    learnt = exported.card.provenance.get("quantization")
    if isinstance(target, TooledTarget):
        held = int8_tooled(
            target, target.write_source(draft, float_folder), folder / name, calibration, gate, latency=latency
        )
        return _verdict(held), tuple(held.explain())
    target.write(draft, float_folder)
    if target.engine == "onnxruntime":
        held = int8_onnx(float_folder / name, folder / name, calibration, gate, learnt=_table(learnt), latency=latency)
    else:
        held = int8_openvino(float_folder / name, folder / name, calibration, gate, latency=latency)
    return _verdict(held), tuple(held.explain())


def _verdict(held: Held) -> Verification:
    """Of the attempt that passed, else of the first one, which is int8 in all layers."""
    return cast("Verification", (held.chosen or held.attempts[0]).verdict)


def _table(learnt: object) -> Mapping[str, Any] | None:
    return learnt if isinstance(learnt, Mapping) else None
