"""Keras files as Keras 2 and 3 write them, by hand: h5py, zip and JSON, from a network in PyTorch."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import nn

_CLASSES = {
    "conv2d": "Conv2D", "depthwise_conv2d": "DepthwiseConv2D", "batch_normalization": "BatchNormalization",
    "dense": "Dense", "re_lu": "ReLU", "concatenate": "Concatenate", "split": "Split", "reshape": "Reshape",
    "max_pooling2d": "MaxPooling2D", "global_average_pooling2d": "GlobalAveragePooling2D", "input_layer": "InputLayer",
}  # fmt: skip
_VARIABLES = {
    "conv2d": ("kernel", "bias"), "depthwise_conv2d": ("depthwise_kernel",), "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}  # fmt: skip


@dataclass
class Node:
    name: str
    kind: str
    inputs: list[str]
    arrays: list[np.ndarray]


@dataclass
class Graph:
    """Layers in the order of construction; counters as in a process that has made ``made_before`` of each class."""

    made_before: int = 0
    nodes: list[Node] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, module: nn.Module | None = None) -> str:
        number = self.made_before + sum(node.kind == kind for node in self.nodes)
        name = f"{kind}_{number}" if number else kind
        self.nodes.append(Node(name, kind, list(inputs), [] if module is None else _arrays(module)))
        return name

    def by_depth(self) -> list[Node]:
        """As ``model.layers``: by distance from the output, then as made."""
        depth = dict.fromkeys((node.name for node in self.nodes), 0)
        for node in reversed(self.nodes):
            for name in node.inputs:
                depth[name] = max(depth[name], depth[node.name] + 1)
        return sorted(self.nodes, key=lambda node: -depth[node.name])

    def config(self, *, keras: int) -> dict[str, Any]:
        layers = [
            {
                "class_name": _CLASSES[node.kind],
                "config": {"name": node.name},
                "name": node.name,
                "inbound_nodes": _inbound(node.inputs, keras),
            }
            for node in self.by_depth()
        ]
        return {"class_name": "Functional", "config": {"name": "model", "layers": layers}}


def _inbound(names: list[str], keras: int) -> list[Any]:
    if keras == 2:
        return [[[name, 0, 0, {}] for name in names]] if names else []
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"shape": [None, 1], "keras_history": [name, 0, 0]}}
        for name in names
    ]
    return [{"args": tensors, "kwargs": {}}] if names else []


def _arrays(module: nn.Module) -> list[np.ndarray]:
    """A layer's variables in Keras's order and axes."""
    if isinstance(module, nn.BatchNorm2d):
        return [t.detach().numpy() for t in (module.weight, module.bias, module.running_mean, module.running_var)]
    kernel = module.weight.detach().numpy()
    if kernel.ndim == 2:
        kernel = kernel.T
    else:
        kernel = kernel.transpose(2, 3, 0, 1) if module.groups > 1 else kernel.transpose(2, 3, 1, 0)
    return [kernel] if module.bias is None else [kernel, module.bias.detach().numpy()]


def shufflenet_graph(network: nn.Module, made_before: int = 0) -> Graph:
    """The graph of ``originals.keras.ShuffleNet``, in the order in which the article's code makes its layers."""
    graph = Graph(made_before)
    x = graph.add("conv2d", graph.add("input_layer"), module=network.stem)
    x = graph.add("max_pooling2d", x)
    for stage in network.stages:
        for unit in stage:
            left = right = x if unit.stride == 2 else graph.add("split", x)
            if unit.stride == 2:
                left = _chain(graph, unit.shortcut, left)
            x = graph.add("concatenate", left, _chain(graph, unit.branch, right))
            x = graph.add("reshape", x)
    x = graph.add("global_average_pooling2d", graph.add("conv2d", x, module=network.last))
    graph.add("dense", x, module=network.dense)
    return graph


def _chain(graph: Graph, blocks: nn.Sequential, x: str) -> str:
    for block in blocks:
        x = graph.add("depthwise_conv2d" if block.depthwise else "conv2d", x, module=block.conv)
        x = graph.add("batch_normalization", x, module=block.bn)
        x = x if block.depthwise else graph.add("re_lu", x)
    return x


def legacy_h5(graph: Graph, path: Path, *, whole: bool) -> Path:
    """``model.save("x.h5")``, or without the configuration ``model.save_weights("x.h5")``."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = json.dumps(graph.config(keras=2))
        group.attrs["layer_names"] = [node.name for node in graph.by_depth()]
        for node in graph.nodes:
            names = [f"{node.name}/{v}:0" for v, _ in zip(_VARIABLES.get(node.kind, ()), node.arrays, strict=False)]
            layer = group.create_group(node.name)
            layer.attrs["weight_names"] = names
            for name, array in zip(names, node.arrays, strict=True):
                layer[name] = array
    return path


def weights_h5(graph: Graph, *, named: bool) -> bytes:
    """``model.save_weights("x.weights.h5")``: counters by ``model.layers``; newer Keras 3 adds the names."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        counts: dict[str, int] = {}
        for node in graph.by_depth():
            number = counts[node.kind] = counts.get(node.kind, -1) + 1
            group = file.create_group(f"layers/{node.kind}_{number}" if number else f"layers/{node.kind}")
            variables = group.create_group("vars")
            if named and node.arrays:
                variables.attrs["name"] = node.name
            for i, array in enumerate(node.arrays):
                variables[str(i)] = array
        file["optimizer/vars/0"] = np.int64(7)
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    return stream.getvalue()


def keras_zip(graph: Graph, path: Path, *, keras: int) -> Path:
    """``model.save("x.keras")``."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(graph.config(keras=keras)))
        archive.writestr("model.weights.h5", weights_h5(graph, named=keras == 3))
    return path
