from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interop_networks import randomise
from keras_writer import Graph, keras_zip, legacy_h5, shufflenet_graph, weights_h5
from originals.keras import ShuffleNet
from torch import Tensor, nn

from featherlight import create_model
from featherlight.errors import ModelFileError
from featherlight.models.foreign import load_weights

Write = Callable[[Graph, Path], Path]


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def with_json_beside(graph: Graph, folder: Path) -> Path:
    (folder / "m.json").write_text(json.dumps(graph.config(keras=2)))
    return write_bytes(folder / "m.weights.h5", weights_h5(graph, named=False))


FILES: dict[str, Write] = {
    "legacy, whole": lambda graph, folder: legacy_h5(graph, folder / "m.h5", whole=True),
    "legacy, weights": lambda graph, folder: legacy_h5(graph, folder / "m.h5", whole=False),
    "weights with names": lambda graph, folder: write_bytes(folder / "m.weights.h5", weights_h5(graph, named=True)),
    "weights, JSON beside": with_json_beside,
    "keras 2": lambda graph, folder: keras_zip(graph, folder / "m.keras", keras=2),
    "keras 3": lambda graph, folder: keras_zip(graph, folder / "m.keras", keras=3),
}


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return randomise(ShuffleNet(7)).float()


def assert_same_logits(ours: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected: Tensor = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


def empty() -> nn.Module:
    return create_model("shufflenet_v2_x1_0.keras", 7, input_size=224).eval()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("made_before", [0, 95])
def test_network_gives_the_originals_logits(kind: str, made_before: int, original: nn.Module, tmp_path: Path) -> None:
    file = FILES[kind](shufflenet_graph(original, made_before), tmp_path)
    ours = load_weights(empty(), file)
    for size in (64, 75, 97):
        images = torch.randn(2, 3, size, size + 1, generator=torch.Generator().manual_seed(size))
        assert_same_logits(ours, original, images)


def test_weights_without_names_and_configuration_are_refused_with_the_reason(
    original: nn.Module, tmp_path: Path
) -> None:
    file = write_bytes(tmp_path / "m.weights.h5", weights_h5(shufflenet_graph(original), named=False))
    network = empty()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelFileError, match=r"several layers of one shape .*no configuration.*model\.to_json"):
        load_weights(network, file)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())


def test_layers_with_names_of_their_own_need_a_configuration(original: nn.Module, tmp_path: Path) -> None:
    graph = shufflenet_graph(original)
    renamed = {node.name: f"layer_{len(graph.nodes) - at:03}" for at, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        node.name, node.inputs = renamed[node.name], [renamed[name] for name in node.inputs]
    with pytest.raises(ModelFileError, match="names of their own"):
        load_weights(empty(), legacy_h5(graph, tmp_path / "weights.h5", whole=False))
    ours = load_weights(empty(), legacy_h5(graph, tmp_path / "whole.h5", whole=True))
    images = torch.randn(1, 3, 64, 64)
    assert_same_logits(ours, original, images)


def test_configuration_that_does_not_tell_branches_apart_is_refused(original: nn.Module, tmp_path: Path) -> None:
    graph = shufflenet_graph(original)
    first = next(node for node in graph.nodes if node.kind == "depthwise_conv2d")
    first.kind = "conv2d"
    first.name = "odd"
    for node in graph.nodes:
        node.inputs = ["odd" if name == "depthwise_conv2d" else name for name in node.inputs]
    with pytest.raises(ModelFileError, match="two branches begin with a conv2d layer"):
        load_weights(empty(), keras_zip(graph, tmp_path / "m.keras", keras=3))


def test_missing_and_misshapen_layers_are_listed(original: nn.Module, tmp_path: Path) -> None:
    graph = shufflenet_graph(original)
    dense = graph.nodes.pop()
    with pytest.raises(ModelFileError, match=r"missing: fc\.weight, fc\.bias"):
        load_weights(empty(), legacy_h5(graph, tmp_path / "a.h5", whole=False))
    dense.arrays[0] = dense.arrays[0][:-1]
    graph.nodes.append(dense)
    with pytest.raises(ModelFileError, match=r"of another shape: fc\.weight \(7, 1023\) for \(7, 1024\)"):
        load_weights(empty(), legacy_h5(graph, tmp_path / "b.h5", whole=False))
    dense.arrays[0] = dense.arrays[0].T.ravel()
    with pytest.raises(ModelFileError, match=r"of another shape: fc\.weight"):
        load_weights(empty(), legacy_h5(graph, tmp_path / "c.h5", whole=False))


def test_layers_too_many_are_listed(original: nn.Module, tmp_path: Path) -> None:
    graph = shufflenet_graph(original)
    graph.add("dense", graph.nodes[-1].name, module=nn.Linear(7, 7))
    with pytest.raises(ModelFileError, match="left over: dense_1/bias, dense_1/kernel"):
        load_weights(empty(), legacy_h5(graph, tmp_path / "a.h5", whole=True))
