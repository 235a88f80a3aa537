"""Channels of one tensor brought to like ranges, exactly: what one layer is divided by, the next is multiplied by.

Activations get one range per tensor in int8, so a channel a hundred times wider than the others costs them nearly all
their steps. Between a convolution with batch norm and the next convolution, with a ReLU or nothing in between, channels
can be rescaled without changing the function (Nagel et al. 2019, cross-layer equalisation; here activations are
equalised, since weights have a scale per channel anyway).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

LARGEST = 256.0  # a channel is never rescaled by more
_RELUS = (F.relu, torch.relu, "relu", "relu_")


@torch.no_grad()
def equalize(network: nn.Module) -> int:
    """Rescales channels in place; the network computes the same but for rounding.

    Returns:
        How many pairs of layers were rescaled; 0 for a network that cannot be followed.
    """
    count = 0
    for norm, following in _pairs(network):
        scale = _scale(norm, following)
        norm.weight.div_(scale)
        norm.bias.div_(scale)
        groups, (_, inside, *kernel) = following.groups, following.weight.shape
        grouped = following.weight.view(groups, -1, inside, *kernel)
        grouped *= scale.view(groups, 1, inside, *[1] * len(kernel))
        count += 1
    return count


def _scale(norm: nn.BatchNorm2d, following: nn.Conv2d) -> Tensor:
    """By what each channel is divided: all of its excess where weights have a scale a channel, else its root."""
    width = (norm.bias.abs() + 3 * norm.weight.abs()).clamp_min(1e-6)
    excess = width / width.log().mean().exp()
    is_depthwise = following.groups == following.in_channels
    return (excess if is_depthwise else excess.sqrt()).clamp(1 / LARGEST, LARGEST)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.BatchNorm2d, nn.Conv2d]]:
    """Each batch norm behind a convolution whose only way leads into another convolution."""
    training = network.training
    try:
        graph = fx.Tracer().trace(network.eval())
    except Exception:  # whatever the network's code does with a tensor that has no values
        return
    finally:
        network.train(training)
    modules = dict(network.named_modules())
    used = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        norm, following = _module(node, modules), _following(node, modules)
        once = used.count(str(node.target)) == 1
        if isinstance(norm, nn.BatchNorm2d) and norm.affine and once and following is not None:
            yield norm, following


def _following(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Conv2d | None:
    user = _only_user(node)
    if user is not None and (isinstance(_module(user, modules), nn.ReLU) or user.target in _RELUS):
        user = _only_user(user)
    module = None if user is None else _module(user, modules)
    return module if isinstance(module, nn.Conv2d) else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _module(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None
