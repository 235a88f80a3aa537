"""Explicit zero padding into the convolution or average pooling behind it, or into the padding before it.

A convolution pads alike on both sides, so only such padding fits; an uneven one ("same" padding of even sizes) stays.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from featherlight.passes.affine import is_convolution
from featherlight.passes.base import Rule, given
from featherlight.passes.graph import argument, aten, is_call, operator_name, shape_of

_PADS = frozenset(("constant_pad_nd", "pad"))


def zero_pad(node: Any) -> tuple[int, ...] | None:
    """(left, right, top, bottom, ...) of a padding with zeros; None for anything else."""
    if not isinstance(node, Node) or node.op != "call_function" or operator_name(node) not in _PADS or node.kwargs:
        return None
    if operator_name(node) == "pad" and argument(node, 2, "constant") != "constant":
        return None
    value = argument(node, 2, 0) if operator_name(node) == "constant_pad_nd" else argument(node, 3, None)
    sides: Any = node.args[1]
    known = all(isinstance(side, int) for side in sides)
    return tuple(sides) if known and not value else None


def _matches(node: Node) -> bool:
    return zero_pad(node) is not None


def _behind(node: Node) -> Node | None:
    behind = next(iter(node.users), None)
    fits = len(node.users) == 1 and behind is not None and behind.args[:1] == (node,)
    return behind if fits else None


def _check(node: Node) -> str | None:
    sides, behind = given(zero_pad(node)), _behind(node)
    if min(sides) < 0:
        return "a padding that cuts off"
    if behind is None:
        return "a padding that more than one operator sees"
    if zero_pad(behind) is not None:
        return None
    if not is_convolution(behind) or not is_call(behind, (aten.conv2d.default,)):
        return "a padding in front of something that cannot pad with zeros by itself"
    if len(sides) > 4 or any(sides[k] != sides[k + 1] for k in range(0, len(sides), 2)):
        return "a padding that is not the same on both sides"
    return None


def _rewrite(module: GraphModule, node: Node) -> None:  # noqa: ARG001
    sides, behind = given(zero_pad(node)), given(_behind(node))
    further = zero_pad(behind)
    if further is not None:
        count = max(len(sides), len(further))
        ours, theirs = ((*pads, *[0] * (count - len(pads))) for pads in (sides, further))
        behind.args = (node.args[0], [a + b for a, b in zip(ours, theirs, strict=True)], *behind.args[2:])
    else:
        _pad_convolution(behind, node, sides)
    node.graph.erase_node(node)


def _pad_convolution(convolution: Node, node: Node, sides: tuple[int, ...]) -> None:
    dimensions = len(shape_of(convolution) or ()) - 2
    added = [*reversed(sides[::2])]
    added = [0] * (dimensions - len(added)) + added
    padding = argument(convolution, 4, [0] * dimensions)
    padding = [padding] * dimensions if isinstance(padding, int) else list(padding)
    padding = padding * dimensions if len(padding) == 1 else padding
    stride = argument(convolution, 3, [1] * dimensions)
    total = [a + b for a, b in zip(padding, added, strict=True)]
    args = [*convolution.args, None][:3] if len(convolution.args) < 3 else list(convolution.args[:3])
    convolution.args = (node.args[0], *args[1:], stride, total, *convolution.args[5:])


merge_pads = Rule("merge_pads", _matches, _check, _rewrite)
