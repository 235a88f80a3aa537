"""The order in which a Keras model's layers were made, read off its configuration.

Names that Keras counts (``conv2d_7``) follow construction, but ``model.layers`` and the counters in ``.weights.h5``
follow the depth in the graph, where the layers of two branches mix. The configuration names every connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WEIGHTED = ("conv2d", "depthwise_conv2d", "batch_normalization", "dense")


@dataclass(frozen=True)
class Node:
    """A layer of the configuration: its name, its class in snake case, the layers before it."""

    name: str
    kind: str
    inputs: tuple[str, ...]


def read_graph(config: Mapping[str, Any]) -> list[Node]:
    """The layers of a functional or sequential model, in the order of ``model.layers``.

    Raises:
        ValueError: something else, with the reason.
    """
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ValueError("the configuration lists no layers")
    names = [_name(layer) for layer in layers]
    if len(set(names)) < len(names):
        raise ValueError("the configuration has two layers of one name")
    sequential = config.get("class_name") == "Sequential"
    return [
        Node(name, _kind(layer), names_before(names, at) if sequential else tuple(_inputs(layer, set(names))))
        for at, (name, layer) in enumerate(zip(names, layers, strict=True))
    ]


def names_before(names: list[str], at: int) -> tuple[str, ...]:
    """The layer before, as a sequential model connects them."""
    return tuple(names[max(0, at - 1) : at])


def construction_order(nodes: list[Node]) -> list[str]:
    """Names in the order of construction: branch after branch, the one that begins with a depthwise convolution first.

    Raises:
        ValueError: two branches begin alike, or the graph has a circle.
    """
    kinds = {node.name: node.kind for node in nodes}
    consumers: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            consumers[name].append(node.name)
    waiting = {node.name: len(node.inputs) for node in nodes}
    stack = [node.name for node in reversed(nodes) if not node.inputs]
    order = []
    while stack:
        order.append(stack.pop())
        for name in consumers[order[-1]]:
            waiting[name] -= 1
        ready = [name for name in consumers[order[-1]] if not waiting[name]]
        stack += reversed(_by_branch(ready, consumers, waiting, kinds))
    if len(order) < len(nodes):
        raise ValueError("the connections in the configuration run in a circle")
    return order


def _by_branch(
    names: list[str], consumers: Mapping[str, list[str]], waiting: Mapping[str, int], kinds: Mapping[str, str]
) -> list[str]:
    firsts = {name: _first_weighted(name, consumers, waiting, kinds) for name in names}
    met = [kind for kind in firsts.values() if kind]
    if len(set(met)) < len(met):
        raise ValueError(f"two branches begin with a {met[0]} layer, so the configuration does not tell them apart")
    return sorted(names, key=lambda name: firsts[name] != "depthwise_conv2d")


def _first_weighted(
    name: str, consumers: Mapping[str, list[str]], waiting: Mapping[str, int], kinds: Mapping[str, str]
) -> str | None:
    """The kind of the first layer with weights from ``name`` on, before branches meet or part."""
    while kinds[name] not in WEIGHTED:
        if len(consumers[name]) != 1 or waiting[consumers[name][0]] != 1:
            return None
        name = consumers[name][0]
    return kinds[name]


def _name(layer: Mapping[str, Any]) -> str:
    config = layer.get("config")
    name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None)
    if isinstance(name, str):
        return name
    raise ValueError("a layer of the configuration has no name")


def _kind(layer: Mapping[str, Any]) -> str:
    """``DepthwiseConv2D`` -> ``depthwise_conv2d``, as Keras makes names."""
    name = re.sub(r"\W+", "", str(layer.get("class_name")))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


def _inputs(layer: Mapping[str, Any], names: set[str]) -> Iterator[str]:
    """Layers that ``inbound_nodes`` refers to: ``[name, node, tensor, ...]``, or ``keras_history`` since Keras 3."""
    seen = set()
    stack: list[Any] = [layer.get("inbound_nodes")]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list) and _is_reference(item, names):
            if item[0] not in seen:
                yield item[0]
            seen.add(item[0])
            stack += item[3:]
        elif isinstance(item, list):
            stack += item


def _is_reference(item: list[Any], names: set[str]) -> bool:
    return len(item) >= 3 and isinstance(item[0], str) and item[0] in names and all(type(n) is int for n in item[1:3])
