"""Small helpers on torch.fx graphs of ATen operators, as :mod:`featherlight.passes.tracing` makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

aten = torch.ops.aten


def names(text: str) -> frozenset[str]:
    """Names of operators, written one after another."""
    return frozenset(text.split())


def constant(node: Any) -> Tensor | None:
    """The tensor that a ``get_attr`` node stands for; None for anything else."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: Any = node.graph.owning_module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) else None


def known(node: Any) -> Tensor:
    """The tensor of a node that is known to stand for one."""
    tensor = constant(node)
    if tensor is None:
        raise ValueError(f"{node} is no constant")
    return tensor


def add_constant(module: GraphModule, hint: str, value: Tensor) -> Node:
    """Registers ``value`` under a free name like ``hint`` and gives its node, at the place where nodes are added."""
    name = hint.replace(".", "_")
    while hasattr(module, name):
        name += "_"
    if value.is_floating_point():
        module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    else:
        module.register_buffer(name, value)
    return module.graph.create_node("get_attr", name, name=name)


def call(module: GraphModule, target: Any, arguments: tuple[Any, ...], like: Node | None = None) -> Node:
    """Adds an operator; its shape is that of ``like``."""
    node = module.graph.call_function(target, arguments)
    if like is not None and "val" in like.meta:
        node.meta["val"] = like.meta["val"]
    return node


def replace(old: Node, new: Node) -> None:
    """Puts ``new`` in the place of ``old``, which goes."""
    old.replace_all_uses_with(new)
    old.graph.erase_node(old)


def shape_of(node: Any) -> tuple[Any, ...] | None:
    """Shape of what a node gives; its batch may be a symbol. None if it gives no tensor."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    if value is None and (tensor := constant(node)) is not None:
        value = tensor
    return tuple(value.shape) if isinstance(value, Tensor) else None


def is_call(node: Any, targets: Iterable[Any]) -> bool:
    """Whether a node calls one of the operators."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def argument(node: Node, index: int, default: Any = None) -> Any:
    """A positional argument of an operator, or its default."""
    return node.args[index] if len(node.args) > index else default


def operator_name(node: Node) -> str:
    """``conv2d`` for ``aten.conv2d.default``."""
    target: Any = node.target
    return str(getattr(target, "_opname", None) or getattr(target, "__name__", target))


def count_operators(module: GraphModule) -> dict[str, int]:
    """How often each operator occurs, by name."""
    called = (operator_name(node) for node in module.graph.nodes if node.op == "call_function")
    return dict(sorted(Counter(name for name in called if name != "getitem").items()))


def finish(module: GraphModule) -> None:
    """Drops what nothing uses, nodes and tensors, and makes the code anew."""
    module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    module.delete_all_unused_submodules()
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for owner_name, owner in list(module.named_modules()):
        for table in (owner._parameters, owner._buffers):
            for name in list(table):
                if (f"{owner_name}.{name}" if owner_name else name) not in used:
                    del table[name]
    module.graph.lint()
    module.recompile()
