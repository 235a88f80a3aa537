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

from featherlight.kernels.chain import run_chain
from featherlight.kernels.library import has_bfloat16, load_kernels
from featherlight.kernels.links import PLAIN, Ending, Link

_ACTIVATION_OF_MODULE: dict[Any, str] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Hardswish: "hardswish", nn.Identity: "none",
}  # fmt: skip
_ACTIVATION_OF_FUNCTION: dict[Any, str] = {
    F.relu: "relu", torch.relu: "relu", F.relu6: "relu6", "relu": "relu", F.hardswish: "hardswish",
}  # fmt: skip
LARGEST_WINDOW = 7  # of a depthwise convolution; MAX_SIZE of depthwise.h
LARGEST_STEM = 160  # numbers in a window of a network's first convolution
_SHUFFLES = (F.channel_shuffle, torch.channel_shuffle)
_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6}
_ADDITIONS = (operator.add, operator.iadd, torch.add)


def accelerate(model: nn.Module, *, reduced: bool = False) -> Callable[[Tensor], Tensor] | None:
    """A function that computes ``model`` in training mode, faster, with the same weights and statistics.

    The model itself stays as it is. Batches that the kernels do not know (not float32, not on the CPU) and networks
    whose norms are frozen are computed by the model.

    Args:
        model: the network.
        reduced: tensors between its layers, and the factors of products, are bfloat16; sums, statistics, weights and
            their gradients stay float32.

    Returns:
        The function; None where there is nothing to gain: no compiler, no chain of known operators, or no instruction
        for what is ``reduced``.
    """
    library = load_kernels(bfloat16=reduced) if not reduced or has_bfloat16() else None
    if library is None:
        return None
    was_training = model.training
    try:
        traced = fx.symbolic_trace(model.train())
    except Exception:  # a network whose Python code depends on values cannot be traced
        return None
    finally:
        model.train(was_training)
    _drop_identities(traced)
    chains = _find_chains(traced)
    if not chains:
        return None
    exchanged: dict[fx.Node, fx.Node] = {}
    for chain in chains:
        exchanged[chain.end] = _exchange(traced, chain, exchanged, library)
    _widen(traced, list(exchanged.values()))
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
        ending: what becomes of its result.
        other: the tensor that it is joined with or added to, unless that is ``start``.
        before: nodes of the ending in front of the links: a split, and both halves.
        after: nodes of the ending behind them.
    """

    start: fx.Node
    pieces: list[_Piece] = field(default_factory=list)
    ending: Ending = PLAIN
    other: fx.Node | None = None
    before: list[fx.Node] = field(default_factory=list)
    after: list[fx.Node] = field(default_factory=list)

    @property
    def end(self) -> fx.Node:
        return self.after[-1] if self.after else self.pieces[-1].end

    @property
    def nodes(self) -> list[fx.Node]:
        """All of them, in the order of the graph, so far as one depends on another."""
        return [*self.before, *(node for piece in self.pieces for node in piece.nodes), *self.after]

    @property
    def norms(self) -> list[str]:
        return [piece.norm for piece in self.pieces]


def _drop_identities(traced: fx.GraphModule) -> None:
    """Modules that stand for nothing would part chains."""
    for node in list(traced.graph.nodes):
        if type(_module_of(traced, node)) is nn.Identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)


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
            _find_ending(traced, chain, taken)
            chains.append(chain)
            taken.update(chain.nodes)
    return chains


def _find_ending(traced: fx.GraphModule, chain: _Found, taken: set[fx.Node]) -> None:
    after = _only_user(chain.pieces[-1].end)
    if after is None or after in taken:
        return
    if after.target is torch.cat:
        _find_mixing(traced, chain, after)
        if chain.ending == PLAIN:
            _find_pooling(traced, chain, after)
    elif (after.target, after.args[1:], after.kwargs) == ("mean", ((2, 3),), {}):
        chain.ending, chain.after = Ending("mean"), [after]
    elif after.target in _ADDITIONS and chain.pieces[-1].link.activation == "none":
        _find_addition(traced, chain, after)


def _find_mixing(traced: fx.GraphModule, chain: _Found, join: fx.Node) -> None:
    """Recognises ShuffleNetV2's units around a chain.

    ``shuffle(cat(left, chain(right)), 2)``, of the halves of ``x.chunk(2, 1)`` or of two branches of as many channels.
    """
    shuffle, inputs = _only_user(join), join.all_input_nodes
    along = join.kwargs.get("dim", join.args[1] if len(join.args) > 1 else 0)
    if shuffle is None or shuffle.target not in _SHUFFLES or shuffle.args[1] != 2 or along != 1:
        return
    if len(inputs) != 2 or inputs[1] is not chain.pieces[-1].end:
        return
    left, right = inputs[0], chain.start
    channels = _channels_of(traced, left)
    if channels is not None and channels == _channels_of(traced, inputs[1]):
        chain.ending, chain.other, chain.after = Ending("join"), left, [join, shuffle]
        return
    halves = [(node.target, node.args[1:], len(node.users)) for node in (left, right)]
    if halves != [(operator.getitem, (0,), 1), (operator.getitem, (1,), 1)]:
        return
    split = left.all_input_nodes[0]
    is_chunk = (split.target, split.args[1:], split.kwargs) == ("chunk", (2,), {"dim": 1})
    if right.all_input_nodes[0] is split and is_chunk and len(split.users) == 2 and _keeps_size(traced, chain):
        chain.ending, chain.before, chain.after = Ending("split"), [split, left, right], [join, shuffle]
        chain.start = split.all_input_nodes[0]


def _find_pooling(traced: fx.GraphModule, chain: _Found, join: fx.Node) -> None:
    """Recognises ShuffleNetV1's units that halve the image: ``activation(cat(average(x), chain(x)))``."""
    inputs = join.all_input_nodes
    along = join.kwargs.get("dim", join.args[1] if len(join.args) > 1 else 0)
    if len(inputs) != 2 or inputs[1] is not chain.pieces[-1].end or along != 1:
        return
    pool = inputs[0]
    if (pool.target, pool.args, pool.kwargs) != (F.avg_pool2d, (chain.start, 3), {"stride": 2, "padding": 1}):
        return
    if len(pool.users) == 1 and chain.pieces[-1].link.activation == "none" and _halves_size(traced, chain):
        nodes, activation = _activate(traced, join)
        chain.ending, chain.before, chain.after = Ending("pool", activation), [pool], nodes


def _activate(traced: fx.GraphModule, node: fx.Node) -> tuple[list[fx.Node], str]:
    """The node with an activation behind it whose derivative follows from its value, and the activation's name."""
    nodes = [node]
    activation = _activation_after(traced, nodes)
    return ([node], "none") if activation == "hardswish" else (nodes, activation)


def _find_addition(traced: fx.GraphModule, chain: _Found, addition: fx.Node) -> None:
    """Recognises a residual connection behind a chain: ``activation(chain(x) + other)``."""
    result = chain.pieces[-1].end
    others = [argument for argument in addition.args if argument is not result]
    if len(addition.args) != 2 or addition.kwargs or len(others) != 1 or not isinstance(others[0], fx.Node):
        return
    in_place_elsewhere = addition.target is operator.iadd and addition.args[0] is not result
    if in_place_elsewhere or not _keeps_size(traced, chain):
        return
    nodes, activation = _activate(traced, addition)
    chain.ending, chain.after = Ending("add", activation), nodes
    chain.other = None if others[0] is chain.start else others[0]


def _keeps_size(traced: fx.GraphModule, chain: _Found) -> bool:
    """Whether it begins with a pointwise convolution, and its result is as high and wide as what comes in."""
    return all(stride == 1 for stride in _strides(traced, chain))


def _halves_size(traced: fx.GraphModule, chain: _Found) -> bool:
    """Whether it begins with a pointwise convolution, and its result is half as high and wide, rounded up."""
    return sorted(_strides(traced, chain)) == [*[1] * (len(chain.pieces) - 1), 2]


def _strides(traced: fx.GraphModule, chain: _Found) -> list[int]:
    """Of a chain's links; 0 where not even a stride of 1 would keep the size."""
    found = []
    for piece in chain.pieces:
        module: Any = traced.get_submodule(piece.convolution) if piece.convolution else None
        keeps = module is not None and 2 * piece.link.padding + 1 == module.kernel_size[0]
        found.append(piece.link.stride if keeps else 0)
    return found if chain.pieces[0].link.kind == "pointwise" else [0]


def _channels_of(traced: fx.GraphModule, node: fx.Node) -> int | None:
    """Channels of what a norm, or an activation behind one, gives."""
    while (module := _module_of(traced, node)) is not None and type(module) in _ACTIVATION_OF_MODULE:
        node = node.all_input_nodes[0]
    return module.num_features if isinstance(module, nn.BatchNorm2d) else None


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
    if chain.pieces and (link is None or link.kind == "stem"):
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
    if square and module.groups == 1 and module.in_channels * size[0] ** 2 <= LARGEST_STEM:
        return Link("stem", "none", stride=stride[0], padding=padding[0])
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


def _exchange(
    traced: fx.GraphModule,
    chain: _Found,
    exchanged: dict[fx.Node, fx.Node],
    library: ctypes.CDLL,
) -> fx.Node:
    """Puts one call of the kernels in the place of a chain's nodes; ``exchanged``: what has taken others' places."""
    links = tuple(piece.link for piece in chain.pieces)
    ending = chain.ending

    def call(x: Tensor, other: Tensor | None, *parameters: Tensor) -> Tensor:
        if ending.kind != "add" or _fits(x, other, parameters[-1]):
            return run_chain(library, links, x, parameters, ending, other)
        result = run_chain(library, links, x, parameters)
        return _ACTIVATE[ending.activation](result + (x if other is None else other))

    start = exchanged.get(chain.start, chain.start)
    other = None if chain.other is None else exchanged.get(chain.other, chain.other)
    with traced.graph.inserting_before(chain.end):
        parameters = []
        for piece in chain.pieces:
            names = [f"{piece.convolution or piece.norm}.weight"]
            names += [f"{piece.norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
            parameters += [traced.graph.get_attr(name) for name in names]
        result = traced.graph.call_function(call, (start, other, *parameters))
    chain.end.replace_all_uses_with(result)
    for node in reversed(chain.nodes):  # not left to the removal of dead code, which keeps norms for their statistics
        traced.graph.erase_node(node)
    return result


def _widen(traced: fx.GraphModule, calls: list[fx.Node]) -> None:
    """Makes float32 of what PyTorch's operators read of the kernels' results."""
    for node in calls:
        readers = [user for user in node.users if user not in calls]
        if readers:
            with traced.graph.inserting_after(node):
                wide = traced.graph.call_method("float", (node,))
            for user in readers:
                user.replace_input_with(node, wide)


def _fits(x: Tensor, other: Tensor | None, of_result: Tensor) -> bool:
    """Whether what is added has the result's shape; PyTorch would spread a smaller one over it."""
    return (x if other is None else other).shape == (len(x), len(of_result), *x.shape[2:])
