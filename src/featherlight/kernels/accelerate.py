"""Finds the chains of a network that the kernels can compute, and computes them in training."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from featherlight.kernels.chain import Link, run_chain
from featherlight.kernels.library import load_kernels

_ACTIVATION_OF_MODULE: dict[Any, str] = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Identity: "none"}
_ACTIVATION_OF_FUNCTION: dict[Any, str] = {F.relu: "relu", torch.relu: "relu", F.relu6: "relu6", "relu": "relu"}
LARGEST_WINDOW = 7  # of a depthwise convolution; MAX_SIZE of chain.c
_SHUFFLES = (F.channel_shuffle, torch.channel_shuffle)


def accelerate(model: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """A function that computes ``model`` in training mode, faster, with the same weights and statistics.

    The model itself stays as it is. Batches that the kernels do not know (not float32, not on the CPU) and networks
    whose norms are frozen are computed by the model.

    Returns:
        The function; None where there is nothing to gain: no compiler, or no chain of known operators.
    """
    library = load_kernels()
    if library is None:
        return None
    was_training = model.training
    try:
        traced = fx.symbolic_trace(model.train())
    except Exception:  # a network whose Python code depends on values cannot be traced
        return None
    finally:
        model.train(was_training)
    chains = _find_chains(traced)
    if not chains:
        return None
    exchanged: dict[fx.Node, fx.Node] = {}
    for chain in chains:
        exchanged[chain.end] = _exchange(traced, chain, exchanged.get(chain.start, chain.start), library)
    traced.recompile()
    norms: list[Any] = [traced.get_submodule(name) for chain in chains for name in chain.norms]
    parameters = list(model.parameters())

    def compute(images: Tensor) -> Tensor:
        known = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in (images, *parameters))
        if not known or not all(norm.training for norm in norms) or torch.is_autocast_enabled("cpu"):
            return model(images)  # type: ignore[no-any-return]
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
        return traced(images)  # type: ignore[no-any-return]

    return compute


@dataclass
class _Piece:
    """A link where it was found: its modules, its nodes, and the last of these."""

    link: Link
    convolution: str | None
    norm: str
    nodes: list[fx.Node]

    @property
    def end(self) -> fx.Node:
        return self.nodes[-1]


@dataclass
class _Found:
    """A chain in a graph.

    Attributes:
        start: what comes in.
        pieces: its links.
        mixing: the nodes around it that make it a unit of ShuffleNetV2: split, both halves, concatenation, shuffle.
    """

    start: fx.Node
    pieces: list[_Piece] = field(default_factory=list)
    mixing: list[fx.Node] = field(default_factory=list)

    @property
    def end(self) -> fx.Node:
        return self.mixing[-1] if self.mixing else self.pieces[-1].end

    @property
    def nodes(self) -> list[fx.Node]:
        """All of them, in the order of the graph, so far as one depends on another."""
        inside = [node for piece in self.pieces for node in piece.nodes]
        return [*self.mixing[:3], *inside, *self.mixing[3:]]

    @property
    def norms(self) -> list[str]:
        return [piece.norm for piece in self.pieces]


def _find_chains(traced: fx.GraphModule) -> list[_Found]:
    chains: list[_Found] = []
    taken: set[fx.Node] = set()
    for node in traced.graph.nodes:
        if node in taken or node.op != "call_module":
            continue
        chain = _Found(node.all_input_nodes[0])
        at: fx.Node | None = node
        while at is not None and (piece := _next_piece(traced, chain, at)) is not None:
            chain.pieces.append(piece)
            at = _only_user(piece.end)
        if chain.pieces and chain.pieces[-1].link.shuffled:  # nobody is left to put its channels in order
            chain.pieces.pop()
        if chain.pieces:
            _find_mixing(chain)
            chains.append(chain)
            taken.update(chain.nodes)
    return chains


def _find_mixing(chain: _Found) -> None:
    """Recognises ShuffleNetV2's unit around a chain: ``shuffle(cat(left, chain(right)), 2)`` of ``x.chunk(2, 1)``."""
    right, join = chain.start, _only_user(chain.pieces[-1].end)
    shuffle = None if join is None else _only_user(join)
    if join is None or shuffle is None or join.target is not torch.cat or shuffle.target not in _SHUFFLES:
        return
    inputs = join.all_input_nodes
    if len(inputs) != 2 or inputs[1] is not chain.pieces[-1].end or shuffle.args[1] != 2:
        return
    left = inputs[0]
    halves = [(node.target, node.args[1:], len(node.users)) for node in (left, right)]
    if halves != [(operator.getitem, (0,), 1), (operator.getitem, (1,), 1)]:
        return
    split = left.all_input_nodes[0]
    is_chunk = (split.target, split.args[1:], split.kwargs) == ("chunk", (2,), {"dim": 1})
    same_shape = all(piece.link.stride == 1 for piece in chain.pieces) and chain.pieces[0].link.kind == "pointwise"
    if right.all_input_nodes[0] is split and is_chunk and len(split.users) == 2 and same_shape:
        chain.mixing = [split, left, right, join, shuffle]
        chain.start = split.all_input_nodes[0]


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _next_piece(traced: fx.GraphModule, chain: _Found, node: fx.Node) -> _Piece | None:
    """The link that begins at ``node`` and can follow on ``chain``."""
    nodes, shuffle = [node], 1
    if chain.pieces and node.op == "call_function" and node.target in _SHUFFLES:
        shuffle = int(node.args[1])  # type: ignore[arg-type]
        if (after := _only_user(node)) is None or after.op != "call_module":
            return None
        nodes.append(after)
    module = _module_of(traced, nodes[-1])
    link = _link_of(module)
    if link is None and chain.pieces:
        return None
    if link is not None:
        after = _only_user(nodes[-1])
        if after is None:
            return None
        nodes.append(after)
    norm = _module_of(traced, nodes[-1])
    if type(norm) is not nn.BatchNorm2d or not norm.affine or norm.running_mean is None or norm.momentum is None:
        return None
    convolution = None if link is None else str(nodes[-2].target)
    link = _place_shuffle(link or Link("norm", "none"), shuffle, chain)
    if link is None:
        return None
    name = str(nodes[-1].target)
    activation = _activation_after(traced, nodes)
    return _Piece(replace(link, activation=activation, momentum=norm.momentum, eps=norm.eps), convolution, name, nodes)


def _place_shuffle(link: Link, shuffle: int, chain: _Found) -> Link | None:
    """A depthwise convolution leaves its channels where they were; the pointwise one after it finds them."""
    waiting = chain.pieces[-1].link.shuffled if chain.pieces else 0
    if waiting and (shuffle > 1 or link.kind != "pointwise"):
        return None
    if link.kind == "pointwise":
        return replace(link, shuffle=waiting or shuffle)
    return replace(link, shuffled=shuffle if shuffle > 1 else 0)


def _module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _link_of(module: nn.Module | None) -> Link | None:
    if type(module) is not nn.Conv2d or module.bias is not None or module.padding_mode != "zeros":
        return None
    size, stride, padding = module.kernel_size, module.stride, module.padding
    if module.dilation != (1, 1) or isinstance(padding, str):
        return None
    if size == (1, 1) and stride == (1, 1) and padding == (0, 0):
        return Link("pointwise", "none", groups=module.groups)
    depthwise = module.groups == module.in_channels == module.out_channels
    square = size[0] == size[1] <= LARGEST_WINDOW and stride[0] == stride[1] and padding[0] == padding[1] < size[0]
    if depthwise and square:
        return Link("depthwise", "none", stride=stride[0], padding=padding[0])
    return None


def _activation_after(traced: fx.GraphModule, nodes: list[fx.Node]) -> str:
    """The activation's name; its node, if there is one, is added to ``nodes``."""
    user = _only_user(nodes[-1])
    if user is None:
        return "none"
    if user.op == "call_module":
        name = _ACTIVATION_OF_MODULE.get(type(_module_of(traced, user)))
    else:
        name = _ACTIVATION_OF_FUNCTION.get(user.target) if user.op.startswith("call_") else None
    if name is None or len(user.all_input_nodes) != 1:
        return "none"
    nodes.append(user)
    return name


def _exchange(traced: fx.GraphModule, chain: _Found, start: fx.Node, library: ctypes.CDLL) -> fx.Node:
    """Puts one call of the kernels, with ``start`` as input, in the place of a chain's nodes."""
    links = tuple(piece.link for piece in chain.pieces)

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return run_chain(library, links, x, parameters, mixes=bool(chain.mixing))

    with traced.graph.inserting_before(chain.end):
        parameters = []
        for piece in chain.pieces:
            names = [f"{piece.convolution or piece.norm}.weight"]
            names += [f"{piece.norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
            parameters += [traced.graph.get_attr(name) for name in names]
        result = traced.graph.call_function(call, (start, *parameters))
    chain.end.replace_all_uses_with(result)
    for node in reversed(chain.nodes):  # not left to the removal of dead code, which keeps norms for their statistics
        traced.graph.erase_node(node)
    return result
