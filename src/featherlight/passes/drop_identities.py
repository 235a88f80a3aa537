"""Operators that change nothing in evaluation: dropout, copies, empty slices, reshapes to the same shape."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from featherlight.passes.base import Rule, never
from featherlight.passes.graph import argument, names, operator_name, shape_of

_DROPOUTS = names("dropout feature_dropout alpha_dropout feature_alpha_dropout")
_COPIES = names("contiguous clone detach alias lift_fresh_copy detach_copy alias_copy")
_SIZE_KEEPING = names("view reshape flatten squeeze expand slice _unsafe_view")


def _matches(node: Node) -> bool:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return False
    name = operator_name(node)
    if name in _DROPOUTS:
        return argument(node, 2) is False
    if name in _COPIES:
        return True
    return name in _SIZE_KEEPING and shape_of(node) is not None and shape_of(node) == shape_of(node.args[0])


def _rewrite(module: GraphModule, node: Node) -> None:  # noqa: ARG001
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    node.graph.erase_node(node)


drop_identities = Rule("drop_identities", _matches, never, _rewrite)
