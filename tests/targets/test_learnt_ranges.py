from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.passes.simplify import simplify
from featherlight.targets.learnt_ranges import learnt_tensor_ranges
from featherlight.targets.onnx_network import load_network
from featherlight.targets.quantize_onnx import quantize_onnx
from featherlight.targets.sensitivity import compute_logits
from featherlight.training.fake_quant_graph import fake_quantized, learnt_ranges, watching

Batches = list[NDArray[np.float32]]


def fine_tuned(network: nn.Module, batches: Batches) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """What the model file would say, and the logits of the network that rounds."""
    rounded = fake_quantized(network).eval()
    with torch.no_grad():
        with watching(rounded):
            for batch in batches:
                rounded(torch.from_numpy(batch))
        logits = np.concatenate([rounded(torch.from_numpy(batch)).numpy() for batch in batches])
    return {"layers": [row.to_dict() for row in learnt_ranges(rounded)]}, logits


@pytest.mark.parametrize(
    "form", ["plain", *(pytest.param(form, marks=pytest.mark.slow) for form in ("shuffle", "slices"))]
)
def test_ranges_find_their_layers_whatever_order_the_graph_has(
    form: str,
    network: nn.Module,
    float_path: Path,
    export_plainly: Callable[[nn.Module, str], Path],
    batches: Batches,
    tmp_path: Path,
) -> None:
    learnt, rounded = fine_tuned(network, batches)
    if form == "plain":
        path = float_path
    else:
        path = export_plainly(simplify(network, torch.zeros(1, 3, 32, 32), form=form).module, f"learnt-{form}")
    made = quantize_onnx(path, tmp_path / "int8.onnx", batches, learnt=learnt)
    assert made.method == "learnt"
    reference = compute_logits(onnx.load(path), batches)
    found = compute_logits(onnx.load(made.path), batches)
    assert np.mean((found - rounded) ** 2) < np.mean((rounded - reference) ** 2)


@pytest.mark.parametrize(
    "learnt",
    [
        {},
        {"layers": 3},
        {"layers": [{"layer": "conv1.0", "input": [0, 1], "output": None}]},
        {"layers": [{"layer": "conv1.0", "input": [1, 0], "output": None}]},
        {"layers": ["nonsense"]},
    ],
)
def test_ranges_that_do_not_fit_are_not_used(
    learnt: dict[str, Any], float_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert learnt_tensor_ranges(load_network(float_path), learnt) == {}
    assert "measured instead" in capsys.readouterr().err
