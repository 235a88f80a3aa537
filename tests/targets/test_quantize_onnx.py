from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import featherlight
from featherlight.engines.exported import ExportedCard
from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard
from featherlight.targets.base import Draft
from featherlight.targets.onnx import OnnxTarget
from featherlight.targets.onnx_network import layer_names, load_network, nodes_outside
from featherlight.targets.quantize_onnx import activation_ranges, quantize_onnx
from featherlight.targets.sensitivity import compute_logits

Batches = list[NDArray[np.float32]]


def run(path: Path, batches: Batches) -> NDArray[np.float32]:
    return compute_logits(onnx.load(path), batches)


def error_of(path: Path, float_path: Path, batches: Batches) -> float:
    reference = run(float_path, batches)
    return float(np.mean((run(path, batches) - reference) ** 2) / reference.var())


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_layer_runs_in_int8_and_logits_stay_close(
    method: str, float_path: Path, batches: Batches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = quantize_onnx(float_path, tmp_path / "int8.onnx", batches, method=method)
    assert (made.kept_float, made.unfused, made.method) == ((), (), method)
    assert len(made.layers) == 27
    assert made.size_bytes == (tmp_path / "int8.onnx").stat().st_size < 0.4 * made.float_bytes
    assert 0 < error_of(made.path, float_path, batches) < 0.1  # 27 layers of random weights pass their rounding on
    assert capsys.readouterr().out == ""  # ONNX Runtime's calibrator prints; results for machines must stay clean


def test_weights_are_int8_per_channel_and_activations_uint8(float_path: Path, batches: Batches, tmp_path: Path) -> None:
    graph = onnx.load(quantize_onnx(float_path, tmp_path / "int8.onnx", batches).path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node in convolutions:
        weights, scale, zero = (constants[name] for name in makers[node.input[1]].input)
        assert weights.data_type == zero.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [weights.dims[0]]
        assert not onnx.numpy_helper.to_array(zero).any()
        assert constants[makers[node.input[0]].input[2]].data_type == onnx.TensorProto.UINT8
    assert len(convolutions) == 26


def test_named_layers_stay_float(float_path: Path, batches: Batches, tmp_path: Path) -> None:
    names = layer_names(load_network(float_path))
    made = quantize_onnx(float_path, tmp_path / "int8.onnx", batches, keep_float=names[:3])
    assert made.kept_float == tuple(names[:3])
    assert made.layers == tuple(names[3:])
    all_float = quantize_onnx(float_path, tmp_path / "float.onnx", batches, keep_float=names)
    assert all_float.layers == ()


def test_unknown_layer_and_missing_images_are_refused(float_path: Path, batches: Batches, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layer 'nobody' in this network"):
        quantize_onnx(float_path, tmp_path / "int8.onnx", batches, keep_float=["nobody"])
    with pytest.raises(UsageError, match="no calibration images"):
        quantize_onnx(float_path, tmp_path / "int8.onnx", [])
    assert list(tmp_path.iterdir()) == []


def test_layers_that_share_a_bias_are_each_scaled_right(
    export_plainly: Callable[[nn.Module, str], Path], batches: Batches, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    shared = nn.Parameter(torch.randn(8))
    for place in (0, 2, 4):
        body[place].bias = shared
    body[2].weight.data *= 50  # its bias must have another scale
    path = export_plainly(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), "shared")
    made = quantize_onnx(path, tmp_path / "int8.onnx", batches)
    assert made.unfused == ()
    assert error_of(made.path, path, batches) < 0.01


def test_preprocessing_and_softmax_stay_as_they_are(network: nn.Module, tmp_path: Path) -> None:
    classes = tuple("abcdefghij")
    arguments = {name: value for name, value in network.featherlight_arguments.items() if name != "name"}
    card = ModelCard("shufflenet_v2_x0_5", arguments, classes, Preprocessing(32), temperature=1.5)
    OnnxTarget().write(Draft(network, ExportedCard(card)), tmp_path)
    images = [np.random.default_rng(k).integers(0, 256, (1, 40, 30 + k, 3), np.uint8) for k in range(4)]
    before = onnx.load(tmp_path / "model.onnx")
    made = quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx", images)
    after = onnx.load(made.path)
    assert len(made.layers) == 27
    assert nodes_outside(load_network(tmp_path / "model.onnx"))
    assert [value.name for value in after.graph.output] == ["logits", "probabilities"]
    assert {entry.key: entry.value for entry in after.metadata_props} == {
        entry.key: entry.value for entry in before.metadata_props
    }
    first = next(node for node in after.graph.node if node.op_type == "QuantizeLinear")
    makers = {name: node for node in after.graph.node for name in node.output}
    assert first.input[0] in makers  # what is quantised is the network's input, not the image
    engine = featherlight.Predictor(made.path).engine
    reference = featherlight.Predictor(tmp_path / "model.onnx").engine
    assert np.abs(engine.logits(images[0]) - reference.logits(images[0])).max() < 0.3


def test_ranges_hold_what_was_seen(float_path: Path, batches: Batches) -> None:
    ranges = activation_ranges(float_path, batches)
    low, high = ranges["input"]
    assert low == pytest.approx(min(batch.min() for batch in batches))
    assert high == pytest.approx(max(batch.max() for batch in batches))
