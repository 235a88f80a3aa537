"""The same operator on the same inputs, written twice, runs once; what nothing uses goes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from featherlight.passes.base import Tally
from featherlight.passes.graph import constant


@dataclass(frozen=True)
class RemoveDuplicates:
    """The pass. Random operators are never taken for the same."""

    name: str = "remove_duplicates"

    def run(self, module: GraphModule, tally: Tally) -> None:
        """See :class:`featherlight.passes.base.Pass`."""
        seen: dict[Hashable, Node] = {}
        for node in list(module.graph.nodes):
            key = _key(node)
            if key is None:
                continue
            first = seen.setdefault(key, node)
            if first is not node:
                node.replace_all_uses_with(first)
                module.graph.erase_node(node)
                tally.applied += node.op == "call_function"


def _key(node: Node) -> Hashable:
    """Equal for nodes that give the same; None for those that must stay."""
    if node.op == "get_attr":
        tensor = constant(node)
        return None if tensor is None else (tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes())
    target: Any = node.target
    if node.op != "call_function" or torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
        return None
    try:
        key = (target, _frozen(node.args), _frozen(node.kwargs))
        hash(key)
    except TypeError:
        return None
    return key


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple(sorted((name, _frozen(item)) for name, item in value.items()))
    return (type(value), value) if isinstance(value, int | float | bool) else value


remove_duplicates = RemoveDuplicates()
