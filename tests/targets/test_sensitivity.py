from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.engines.openvino import shared_core
from featherlight.targets.int8 import choose_ranges, int8_onnx, int8_openvino
from featherlight.targets.onnx_network import layer_names, load_network
from featherlight.targets.quantize_onnx import activation_ranges
from featherlight.targets.sensitivity import layer_sensitivity

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
Batches = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def harmed(export_plainly: Callable[[nn.Module, str], Path]) -> Path:
    """The third convolution gets one channel so wide that the others have no steps left."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    with torch.no_grad():
        for module in (network[0], network[2], network[4]):
            nn.init.kaiming_normal_(module.weight)
        network[2].weight[0] *= 2000
        network[2].bias[0] += 2000
        network[4].weight[:, 0] /= 2000
    return export_plainly(network, "harmed")


@dataclass(frozen=True)
class Answer:
    passed: bool


class Accuracy:
    """A gate: the error of the logits."""

    def __init__(self, float_path: Path, batches: Batches, limit: float) -> None:
        self.float_path, self.batches, self.limit = float_path, batches, limit

    def __call__(self, path: Path) -> Answer:
        logits = [
            np.concatenate([model(batch)[0] for batch in self.batches])
            for model in (shared_core().compile_model(p, "CPU", EXACT) for p in (self.float_path, path))
        ]
        return Answer(bool(np.mean((logits[0] - logits[1]) ** 2) / logits[0].var() < self.limit))


@pytest.mark.parametrize("mode", ["only", "all_but"])
def test_layer_that_meets_the_wide_channel_is_the_most_harmful(mode: str, harmed: Path, batches: Batches) -> None:
    ranges = activation_ranges(harmed, batches)
    damages = layer_sensitivity(harmed, batches, ranges, mode=mode)
    names = layer_names(load_network(harmed))
    assert sorted(row.layer for row in damages) == sorted(names)
    assert damages[0].layer in names[1:3]  # the one that makes the wide tensor, or the one that takes it
    assert damages[0].error > 10 * damages[2].error


def test_harmful_layers_stay_float_until_the_gate_holds(harmed: Path, batches: Batches, tmp_path: Path) -> None:
    held = int8_onnx(harmed, tmp_path / "int8.onnx", batches, Accuracy(harmed, batches, 0.01))
    assert not held.attempts[0].verdict.passed
    assert held.chosen is not None
    names = layer_names(load_network(harmed))
    assert set(held.chosen.quantized.kept_float) <= set(names[1:3])
    assert Accuracy(harmed, batches, 0.01)(tmp_path / "int8.onnx").passed


def test_openvino_keeps_harmful_layers_in_float_too(harmed: Path, batches: Batches, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    held = int8_openvino(harmed, tmp_path / "int8.xml", batches, Accuracy(harmed, batches, 0.01))
    assert held.chosen is not None
    assert Accuracy(harmed, batches, 0.01)(tmp_path / "int8.xml").passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.bin", "int8.xml"]


def test_way_of_choosing_ranges_is_measured(
    float_path: Path, batches: Batches, capsys: pytest.CaptureFixture[str]
) -> None:
    method, ranges = choose_ranges(float_path, batches, ("minmax", "percentile"))
    assert f"activation ranges: {method} (minmax" in capsys.readouterr().err
    assert ranges["input"][0] < 0 < ranges["input"][1]
