"""Activation ranges that fine-tuning learnt, found again in the exported graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featherlight.console import note
from featherlight.targets.onnx_network import layer_names

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_CUTTING = ("Relu", "Clip")
_PASSING = (
    "MaxPool", "AveragePool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather",
    "Identity", "Dropout",
)  # fmt: skip

Range = tuple[float, float]
Row = tuple[str, Range, Range | None]  # of a layer: its module, what comes in, what goes out


def learnt_tensor_ranges(network: ModelProto, learnt: Mapping[str, Any]) -> dict[str, Range]:
    """Ranges of the tensors around each layer.

    Layers are found by the names of their weights, since rewriting may change the order in which they run. Where not
    every layer is found, nothing is taken over, and the person is told.

    Args:
        network: from :func:`featherlight.targets.onnx_network.load_network`.
        learnt: ``quantization`` in the model's provenance.
    """
    rows = _read(learnt)
    graph = network.graph
    layers = _by_module(network)
    found = [(layers[name], before, behind) for name, before, behind in rows if name in layers]
    if not len(found) == len(rows) == len(layer_names(network)):
        note(f"of {len(layer_names(network))} layers, {len(found)} have learnt ranges; all are measured instead")
        return {}
    makers = {name: node for node in graph.node for name in node.output}
    ranges: dict[str, Range] = {}
    for layer, _, behind in found:
        if behind is not None:
            ranges[_behind(graph, layer)] = behind
    for layer, before, _ in found:
        ranges |= dict.fromkeys(_way_up(makers, layer.input[0]), before)
    return ranges


def _by_module(network: ModelProto) -> dict[str, NodeProto]:
    """Layers by the module that their weights come from; graph tools write ``a.b.weight`` also as ``a_b_weight_``."""
    names = set(layer_names(network))
    weights = {node.input[1]: node for node in network.graph.node if node.name in names}
    return {_plain(name).removesuffix("_weight"): node for name, node in weights.items()}


def _plain(name: str) -> str:
    return name.replace(".", "_").strip("_")


def _way_up(makers: Mapping[str, NodeProto], tensor: str) -> list[str]:
    """The tensor, and those that it is only another form of."""
    way = [tensor]
    while tensor in makers and makers[tensor].op_type in _PASSING:
        tensor = makers[tensor].input[0]
        way.append(tensor)
    return way


def _behind(graph: GraphProto, layer: NodeProto) -> str:
    users = [node for node in graph.node if layer.output[0] in node.input]
    return str(users[0].output[0] if len(users) == 1 and users[0].op_type in _CUTTING else layer.output[0])


def _read(learnt: Mapping[str, Any]) -> list[Row]:
    """Checked rows; a file may say anything, and then it says nothing."""
    rows = learnt.get("layers")
    found = [_read_row(row) for row in rows] if isinstance(rows, list) else []
    good = [row for row in found if row is not None]
    return good if len(good) == len(found) else []


def _read_row(row: object) -> Row | None:
    if not isinstance(row, Mapping) or not isinstance(row.get("layer"), str):
        return None
    before, behind = _read_range(row.get("input")), _read_range(row.get("output"))
    if before is None or (behind is None and row.get("output") is not None):
        return None
    return _plain(row["layer"]), before, behind


def _read_range(value: object) -> Range | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in value) or not value[0] < value[1]:
        return None
    return float(value[0]), float(value[1])
