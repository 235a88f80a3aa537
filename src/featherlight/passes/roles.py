"""What an operator needs of the order of its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.fx import Node

from featherlight.passes.affine import is_convolution
from featherlight.passes.channels import is_move
from featherlight.passes.graph import argument, aten, constant, known, names, operator_name, shape_of

Kind = Literal["dense", "grouped", "depthwise", "channelwise", "join", "opaque"]

_ELEMENTWISE = names(
    "relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu tanh elu leaky_relu selu celu mish softplus clamp "
    "clamp_min clamp_max neg abs square dropout feature_dropout rsub"
)
_BINARY = names("add sub mul div maximum minimum")
_POOLS = names(
    "max_pool2d avg_pool2d adaptive_avg_pool2d max_pool1d avg_pool1d adaptive_avg_pool1d upsample_nearest2d "
    "upsample_bilinear2d"
)
_NORM_PARAMETERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Role:
    """How an operator treats channels.

    Attributes:
        kind: "dense" and "grouped" mix them by weights that can be reordered; "depthwise" and "channelwise" treat each
            by itself; "join" only puts tensors together; "opaque" needs them as they are.
        inputs: nodes whose channels it takes.
        groups: of a grouped convolution.
        parameters: arguments that have a value for each channel.
    """

    kind: Kind
    inputs: tuple[Node, ...]
    groups: int = 1
    parameters: tuple[int, ...] = ()


def role_of(node: Node, joins: frozenset[Node]) -> Role:
    """The role of a node that computes."""
    sources = tuple(node.all_input_nodes)
    if node in joins:
        return Role("join", sources)
    if is_squeeze(node):
        return Role("channelwise", sources[:1])
    if node.op != "call_function" or node.kwargs or is_move(node):
        return Role("opaque", sources)
    if is_convolution(node):
        return _convolution(node)
    first: Any = node.args[0]
    variable = (first,) if isinstance(first, Node) and constant(first) is None else ()
    name = operator_name(node)
    if name == "batch_norm" and variable and not node.args[5]:
        return Role("channelwise", variable, parameters=_NORM_PARAMETERS)
    if variable and sources == variable and (name in _ELEMENTWISE or name in _POOLS or _is_spatial(node, name)):
        return Role("channelwise", variable)
    return _arithmetic(node) if name in _BINARY else Role("opaque", sources)


def is_squeeze(node: Node) -> bool:
    """Whether a move takes (N, C, 1, 1) to (N, C), which keeps channels whole."""
    if not is_move(node) or not node.args or not isinstance(node.args[0], Node):
        return False
    before, after = shape_of(node.args[0]), shape_of(node)
    if before is None or after is None or len(after) != 2 or len(before) < 3:
        return False
    return before[:2] == after and all(size == 1 for size in before[2:])


def _convolution(node: Node) -> Role:
    source: Node = node.args[0]  # type: ignore[assignment]
    groups = int(argument(node, 6, 1)) if node.target != aten.linear.default else 1
    weight = known(node.args[1])
    if groups == 1:
        return Role("dense", (source,))
    if weight.shape[1] == 1 and weight.shape[0] == groups:
        return Role("depthwise", (source,))
    return Role("grouped", (source,), groups)


def _is_spatial(node: Node, name: str) -> bool:
    """Means over, and paddings of, height and width alone."""
    shape = shape_of(node.args[0])
    if shape is None:
        return False
    rank = len(shape)
    if name == "mean":
        dimensions = argument(node, 1)
        return isinstance(dimensions, list | tuple) and sorted(int(d) % rank for d in dimensions) == list(
            range(2, rank)
        )
    if name in ("constant_pad_nd", "pad"):
        sides = node.args[1]
        return isinstance(sides, list | tuple) and len(sides) <= 2 * (rank - 2)
    return False


def _arithmetic(node: Node) -> Role:
    """Arithmetic of tensors with the same channels, or with constants."""
    shape = shape_of(node)
    variables = tuple(value for value in node.args[:2] if isinstance(value, Node) and constant(value) is None)
    opaque = Role("opaque", tuple(node.all_input_nodes))
    if shape is None or not variables or len(node.args) > 2:
        return opaque
    for value in variables:
        theirs = shape_of(value)
        if theirs is None or len(theirs) != len(shape) or theirs[:2] != shape[:2]:
            return opaque
    parameters = []
    for place, value in enumerate(node.args[:2]):  # type: ignore[assignment]
        tensor = constant(value)
        if tensor is not None and tensor.numel() > 1:
            if not _is_by_channel(tensor, len(shape), int(shape[1])):
                return opaque
            parameters.append(place)
    return Role("channelwise", tuple(dict.fromkeys(variables)), parameters=tuple(parameters))


def _is_by_channel(tensor: Tensor, rank: int, channels: int) -> bool:
    shape = (1,) * (rank - tensor.ndim) + tuple(tensor.shape)
    return tensor.ndim <= rank and shape[1] == channels and tensor.numel() == channels
