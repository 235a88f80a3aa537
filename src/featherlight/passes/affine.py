"""Multiplications and additions of a constant for each channel, alone or as a batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from featherlight.passes.graph import add_constant, argument, aten, call, constant, is_call, known, shape_of

CONVOLUTIONS = (aten.conv2d.default, aten.conv1d.default)
NORMS = (aten.batch_norm.default,)
_ARITHMETIC = {
    aten.add.Tensor: "add",
    aten.add.Scalar: "add",
    aten.sub.Tensor: "sub",
    aten.sub.Scalar: "sub",
    aten.mul.Tensor: "mul",
    aten.mul.Scalar: "mul",
    aten.rsub.Scalar: "rsub",
    aten.rsub.Tensor: "rsub",
    aten.div.Tensor: "div",
    aten.div.Scalar: "div",
}


@dataclass(frozen=True)
class Affine:
    """``scale * x + shift``, one value a channel, in float64."""

    scale: Tensor
    shift: Tensor

    def then(self, other: Affine) -> Affine:
        """This one first, ``other`` after it."""
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)


def norm_affine(node: Node) -> Affine | None:
    """What a batch normalisation does in evaluation mode; None if its statistics are not constant."""
    weight, bias, mean, variance = (constant(value) for value in node.args[1:5])
    training, epsilon = node.args[5], node.args[7]
    if training or mean is None or variance is None or (weight is None) != (node.args[1] is None):
        return None
    scale = 1 / torch.sqrt(variance.double() + float(epsilon))  # type: ignore[arg-type]
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    return Affine(scale, shift if bias is None else shift + bias.double())


def arithmetic_affine(node: Any) -> tuple[Node, Affine] | None:
    """The input, and what is done to it, of arithmetic with a constant for each channel or for all."""
    if not is_call(node, _ARITHMETIC) or node.kwargs or len(node.args) != 2:
        return None
    kind, (left, right) = _ARITHMETIC[node.target], node.args[:2]
    if kind == "rsub":
        kind, left, right = "sub", right, left
    is_left = _is_constant(right)
    variable, value = (left, right) if is_left else (right, left)
    shape = shape_of(variable)
    if not _is_constant(value) or shape is None or len(shape) < 2 or shape_of(node) != shape:
        return None
    numbers = _by_channel(value, len(shape), int(shape[1]))
    if numbers is None or (kind == "div" and not is_left):
        return None
    one, zero = torch.ones_like(numbers), torch.zeros_like(numbers)
    if kind == "add":
        return variable, Affine(one, numbers)
    if kind == "sub":
        return variable, Affine(one, -numbers) if is_left else Affine(-one, numbers)
    return variable, Affine(numbers if kind == "mul" else 1 / numbers, zero)


def _is_constant(value: Any) -> bool:
    return isinstance(value, int | float) or constant(value) is not None


def _by_channel(value: Any, dimensions: int, channels: int) -> Tensor | None:
    """The constant as one number a channel; None if it differs within one."""
    tensor = known(value) if isinstance(value, Node) else torch.tensor(value)
    if tensor.ndim > dimensions or not (tensor.is_floating_point() or tensor.ndim == 0):
        return None
    shape = (1,) * (dimensions - tensor.ndim) + tuple(tensor.shape)
    if any(size != 1 for place, size in enumerate(shape) if place != 1) or shape[1] not in (1, channels):
        return None
    return tensor.double().reshape(-1).expand(channels)


def is_convolution(node: Any) -> bool:
    """A convolution or linear layer whose weights are constants."""
    if not is_call(node, (*CONVOLUTIONS, aten.linear.default)) or node.kwargs:
        return False
    if node.target is aten.linear.default and len(shape_of(node) or ()) != 2:
        return False  # its channels are not the second dimension
    return constant(node.args[1]) is not None and (argument(node, 2) is None or constant(node.args[2]) is not None)


def groups_of(node: Node) -> int:
    """Groups of a convolution; 1 for a linear layer."""
    return int(argument(node, 6, 1)) if node.target in CONVOLUTIONS else 1


def is_padded(node: Node) -> bool:
    """Whether a convolution sees zeros around its input."""
    padding = argument(node, 4, 0) if node.target in CONVOLUTIONS else 0
    return bool(any(padding) if isinstance(padding, list | tuple) else padding)


def set_weights(module: GraphModule, node: Node, weight: Tensor, bias: Tensor | None) -> None:
    """Gives a convolution or linear layer new weights, in its own precision. New nodes stand in front of it."""
    old = known(node.args[1])
    hint = str(node.args[1].target)  # type: ignore[union-attr]
    stem = hint.removesuffix(".weight").removesuffix("_weight")
    with module.graph.inserting_before(node):
        node.update_arg(1, add_constant(module, f"{stem}_weight", weight.to(old.dtype).contiguous()))
        new_bias = None if bias is None else add_constant(module, f"{stem}_bias", bias.to(old.dtype).contiguous())
    node.args = (*node.args[:2], new_bias, *node.args[3:])


def weights_of(node: Node) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution or linear layer, in float64."""
    weight, bias = known(node.args[1]), constant(argument(node, 2))
    return weight.double(), None if bias is None else bias.double()


def fold_after(module: GraphModule, node: Node, affine: Affine) -> None:
    """Makes a layer do what an affine after it would."""
    weight, bias = weights_of(node)
    scale = affine.scale.view(-1, *[1] * (weight.ndim - 1))
    shift = affine.shift if bias is None else affine.shift + bias * affine.scale
    set_weights(module, node, weight * scale, shift)


def fold_before(module: GraphModule, node: Node, affine: Affine) -> None:
    """Makes a layer do what an affine in front of it would. A shift needs a layer that sees no padding."""
    weight, bias = weights_of(node)
    groups, (rows, columns) = groups_of(node), weight.shape[:2]
    group = torch.arange(rows) // (rows // groups)
    places = group[:, None] * columns + torch.arange(columns)  # of each weight's input channel
    shape = (rows, columns, *[1] * (weight.ndim - 2))
    shift = (weight * affine.shift[places].view(shape)).flatten(1).sum(1)
    scaled = weight * affine.scale[places].view(shape)
    set_weights(module, node, scaled, shift if bias is None else bias + shift)


def call_affine(module: GraphModule, node: Node, affine: Affine, like: Node, dtype: torch.dtype) -> Node:
    """Adds the multiplication and the addition that an affine needs; neither where it does nothing."""
    shape = (1, -1, *[1] * (len(shape_of(like) or ()) - 2))
    if not torch.all(affine.scale == 1):
        scale = add_constant(module, "scale", affine.scale.to(dtype).view(shape))
        node = call(module, aten.mul.Tensor, (node, scale), like)
    if not torch.all(affine.shift == 0):
        shift = add_constant(module, "shift", affine.shift.to(dtype).view(shape))
        node = call(module, aten.add.Tensor, (node, shift), like)
    return node
