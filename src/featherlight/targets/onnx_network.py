"""What quantising needs to know of an ONNX file: which part is the network, and which nodes are its layers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from featherlight.engines.exported import LOGITS
from featherlight.errors import UsageError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

LAYERS = ("Conv", "Gemm", "MatMul")
MIN_OPSET = 13  # scales for each channel came with it


def load_network(path: Path) -> ModelProto:
    """Reads a float network and brings it into the form in which it is quantised.

    Constants are folded, each layer has weights and a bias of its own (the runtime scales a shared bias for one of its
    users only, silently), every node has a name, and types of all tensors are known.

    Raises:
        UsageError: older than operator set 13.
    """
    import onnx

    model = _folded(path)
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or versions[0] < MIN_OPSET:
        raise UsageError(f"{path}: ONNX operator set {versions[0] if versions else 'unknown'}; int8 needs {MIN_OPSET}")
    _name_nodes(model.graph)
    _own_constants(model.graph)
    return onnx.shape_inference.infer_shapes(model)


def layer_names(model: ModelProto) -> list[str]:
    """Names of convolutions and linear layers with constant weights, in the order in which they run."""
    constants = {tensor.name for tensor in model.graph.initializer}
    outside = nodes_outside(model)
    return [
        node.name
        for node in model.graph.node
        if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in constants and node.name not in outside
    ]


def nodes_outside(model: ModelProto) -> set[str]:
    """Nodes that make the network's input out of an image, and those that come after the logits."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    first = next((n for n in graph.node if n.op_type == "Conv" and n.input[1] in constants), None)
    before = set() if first is None else _ancestors(graph, {first.input[0]})
    behind = _descendants(graph, {LOGITS})
    return before | behind


def _ancestors(graph: GraphProto, tensors: set[str]) -> set[str]:
    found = set()
    for node in reversed(graph.node):
        if tensors.intersection(node.output):
            found.add(node.name)
            tensors |= set(node.input)
    return found


def _descendants(graph: GraphProto, tensors: set[str]) -> set[str]:
    found = set()
    for node in graph.node:
        if tensors.intersection(node.input):
            found.add(node.name)
            tensors |= set(node.output)
    return found


def _folded(path: Path) -> ModelProto:
    """The graph after the runtime's exact simplifications: batch norm folded, identities and constant parts gone."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="featherlight-int8-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    original = onnx.load(path, load_external_data=False)
    del folded.metadata_props[:]
    folded.metadata_props.extend(original.metadata_props)
    return folded


def _name_nodes(graph: GraphProto) -> None:
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)


def _own_constants(graph: GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used: set[str] = set()
    for node in _layers(graph.node):
        for place, name in enumerate(node.input):
            if name in used and name in constants:
                copy = graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = node.input[place] = f"{name}/{node.name}"
            used.add(name)


def _layers(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    return [node for node in nodes if node.op_type in LAYERS]
