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


def learnt_tensor_ranges(network: ModelProto, learnt: Mapping[str, Any]) -> dict[str, Range]:
    """Ranges of the tensors around each layer.

    Layers are matched by the order in which they run. Where their number differs, because the graph was rewritten in
    another way, nothing is taken over, and the person is told.

    Args:
        network: from :func:`featherlight.targets.onnx_network.load_network`.
        learnt: ``quantization`` in the model's provenance.
    """
    rows = _read(learnt)
    names = layer_names(network)
    if len(rows) != len(names):
        note(f"ranges were learnt for {len(rows)} layers and this graph has {len(names)}; they are measured instead")
        return {}
    graph = network.graph
    layers = {node.name: node for node in graph.node}
    makers = {name: node for node in graph.node for name in node.output}
    ranges: dict[str, Range] = {}
    for name, (_, behind) in zip(names, rows, strict=True):
        if behind is not None:
            ranges[_behind(graph, layers[name])] = behind
    for name, (before, _) in zip(names, rows, strict=True):
        ranges |= dict.fromkeys(_way_up(makers, layers[name].input[0]), before)
    return ranges


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


def _read(learnt: Mapping[str, Any]) -> list[tuple[Range, Range | None]]:
    """Checked rows; a file may say anything, and then it says nothing."""
    rows = learnt.get("layers")
    found = [_read_row(row) for row in rows] if isinstance(rows, list) else []
    good = [row for row in found if row is not None]
    return good if len(good) == len(found) else []


def _read_row(row: object) -> tuple[Range, Range | None] | None:
    if not isinstance(row, Mapping):
        return None
    before, behind = _read_range(row.get("input")), _read_range(row.get("output"))
    return None if before is None or (behind is None and row.get("output") is not None) else (before, behind)


def _read_range(value: object) -> Range | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in value) or not value[0] < value[1]:
        return None
    return float(value[0]), float(value[1])
