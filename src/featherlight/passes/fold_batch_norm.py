"""Batch normalisation into the convolution or linear layer before it, or behind it.

Behind a layer: ``norm(W x + b) = (s W) x + (s b + t)``. In front of a layer the shift becomes part of the bias; that
is exact only where the layer sees no padding, since its zeros stand behind the norm.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from featherlight.passes.affine import NORMS, fold_after, fold_before, is_convolution, is_padded, norm_affine
from featherlight.passes.base import Rule, given
from featherlight.passes.graph import is_call


def _matches(node: Node) -> bool:
    return is_call(node, NORMS)


def _layer_before(node: Node) -> Node | None:
    before = node.args[0]
    return before if is_convolution(before) and len(before.users) == 1 else None  # type: ignore[union-attr,return-value]


def _layer_behind(node: Node) -> Node | None:
    behind = next(iter(node.users), None)
    fits = len(node.users) == 1 and behind is not None and is_convolution(behind) and behind.args[0] is node
    return behind if fits else None


def _check(node: Node) -> str | None:
    affine = norm_affine(node)
    if affine is None:
        return "a norm without fixed statistics"
    if _layer_before(node) is not None:
        return None
    behind = _layer_behind(node)
    if behind is None:
        return "a norm with no convolution or linear layer of its own beside it"
    if is_padded(behind) and affine.shift.any():
        return "a norm in front of a padded convolution: its zeros would be shifted"
    return None


def _rewrite(module: GraphModule, node: Node) -> None:
    affine = given(norm_affine(node))
    before, behind = _layer_before(node), _layer_behind(node)
    if before is not None:
        fold_after(module, before, affine)
    elif behind is not None:
        fold_before(module, behind, affine)
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    node.graph.erase_node(node)


fold_batch_norm = Rule("fold_batch_norm", _matches, _check, _rewrite)
