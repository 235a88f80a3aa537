"""Multiplications and additions of constants: several in a row become one, or part of the layer beside them.

``(x * a + b) * c`` becomes ``x * ac + bc``. Behind a convolution or linear layer it becomes part of it, as in front of
one, if the layer sees no padding or nothing is added; a multiplication alone can always go.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from featherlight.passes.affine import (
    Affine,
    arithmetic_affine,
    call_affine,
    fold_after,
    fold_before,
    is_convolution,
    is_padded,
)
from featherlight.passes.base import Rule, given
from featherlight.passes.graph import replace


def _matches(node: Node) -> bool:
    return arithmetic_affine(node) is not None and not _goes_on(node)


def _goes_on(node: Node) -> bool:
    """Whether the only thing that follows is more of the same; then that is rewritten."""
    behind = next(iter(node.users), None)
    further = arithmetic_affine(behind) if len(node.users) == 1 else None
    return further is not None and further[0] is node


def chain(node: Node) -> tuple[Node, Affine, int]:
    """What goes into a chain of arithmetic that ends here, what the chain does, and how long it is."""
    (source, affine), length = given(arithmetic_affine(node)), 1
    while len(source.users) == 1 and (before := arithmetic_affine(source)) is not None:
        source, affine, length = before[0], before[1].then(affine), length + 1
    return source, affine, length


def _layer_before(source: Node) -> bool:
    return is_convolution(source) and len(source.users) == 1


def _layer_behind(node: Node, affine: Affine) -> Node | None:
    behind = next(iter(node.users), None)
    if len(node.users) != 1 or not is_convolution(behind) or behind is None or behind.args[0] is not node:
        return None
    return None if is_padded(behind) and affine.shift.any() else behind


def _is_neutral(affine: Affine) -> bool:
    return bool((affine.scale == 1).all() and not affine.shift.any())


def _is_one_step(affine: Affine) -> bool:
    return bool((affine.scale == 1).all() or not affine.shift.any())


def _check(node: Node) -> str | None:
    source, affine, length = chain(node)
    if not _is_finite(affine):
        return "arithmetic with constants that are not finite"
    if _is_neutral(affine) or _layer_before(source) or _layer_behind(node, affine):
        return None
    if length > (1 if _is_one_step(affine) else 2):
        return None
    behind = next(iter(node.users), None)
    if is_convolution(behind) and behind is not None and is_padded(behind) and len(node.users) == 1:
        return "an addition in front of a padded convolution: its zeros would be shifted"
    return "arithmetic with constants that stands alone"


def _is_finite(affine: Affine) -> bool:
    return bool(torch.isfinite(affine.scale).all() and torch.isfinite(affine.shift).all())


def _rewrite(module: GraphModule, node: Node) -> None:
    source, affine, _ = chain(node)
    behind = _layer_behind(node, affine)
    if _layer_before(source):
        fold_after(module, source, affine)
        new = source
    elif behind is not None:
        fold_before(module, behind, affine)
        new = source
    else:
        value: Tensor = node.meta["val"]
        new = call_affine(module, source, affine, node, value.dtype)
    replace(node, new)


merge_constants = Rule("merge_constants", _matches, _check, _rewrite)
