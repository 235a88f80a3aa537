"""Normalisation of the image into the first convolution, ``W ((x - m) / s)`` into ``W' x + b``.

The division always goes. The subtraction goes where the convolution sees no padding. With zero padding around the
normalised image, which stands for the mean, it goes too if all channels have the same mean: then the image is padded
with it. Where the channels differ, it stays.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from featherlight.passes.affine import Affine, arithmetic_affine, call_affine, fold_before, is_convolution, is_padded
from featherlight.passes.base import Rule, given
from featherlight.passes.graph import argument, aten, call, replace
from featherlight.passes.merge_constants import chain


def _matches(node: Node) -> bool:
    if arithmetic_affine(node) is None or _first_convolution(node) is None:
        return False
    source = chain(node)[0]
    return not (is_convolution(source) and len(source.users) == 1)  # else it takes all of it


def _first_convolution(node: Node) -> Node | None:
    behind = next(iter(node.users), None)
    fits = len(node.users) == 1 and is_convolution(behind) and behind is not None and behind.args[0] is node
    return behind if fits and behind is not None and behind.target is aten.conv2d.default else None


def _check(node: Node) -> str | None:
    _, affine, length = chain(node)
    convolution = given(_first_convolution(node))
    if not is_padded(convolution) or not affine.shift.any() or _common_mean(affine) is not None:
        return None
    if length == 1 and bool((affine.scale == 1).all()):
        return "the image is padded, and the channels' means differ"
    return None if bool((affine.scale != 0).all()) else "a channel is multiplied by zero"


def _common_mean(affine: Affine) -> float | None:
    """The value of the image that becomes zero, if it is the same, in float32, for all channels."""
    if not bool((affine.scale != 0).all()):
        return None
    means = (-affine.shift / affine.scale).float()
    return float(means[0]) if bool((means == means[0]).all()) else None


def _rewrite(module: GraphModule, node: Node) -> None:
    source, affine, _ = chain(node)
    convolution = given(_first_convolution(node))
    mean = _common_mean(affine)
    if not is_padded(convolution) or not affine.shift.any():
        fold_before(module, convolution, affine)
        replace(node, source)
    elif mean is not None:
        _pad_with(module, node, source, mean)
        fold_before(module, convolution, affine)
    else:
        shift = Affine(torch.ones_like(affine.scale), affine.shift / affine.scale)
        fold_before(module, convolution, Affine(affine.scale, torch.zeros_like(affine.shift)))
        replace(node, call_affine(module, source, shift, node, node.meta["val"].dtype))


def _pad_with(module: GraphModule, node: Node, source: Node, value: float) -> None:
    """Pads the image itself, so that the convolution need not."""
    convolution = given(_first_convolution(node))
    padding = argument(convolution, 4, 0)
    high, wide = (padding, padding) if isinstance(padding, int) else (padding[0], padding[-1])
    padded = call(module, aten.constant_pad_nd.default, (source, [wide, wide, high, high], value))
    convolution.args = (*convolution.args[:4], [0, 0], *convolution.args[5:])
    replace(node, padded)


fold_normalisation = Rule("fold_normalisation", _matches, _check, _rewrite)
