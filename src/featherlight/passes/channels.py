"""Which channel is which: what a graph does that only moves channels, followed without computing anything.

Every tensor that an operator computes is a *source*, and each of its channels gets a number. Operators that only move
values (views, transposes, splits, concatenations, shuffles, gathers) are run on tensors that hold, at each place, the
number of the channel, the position in the image and the image. If in the result every channel is again one whole
channel of a source, its numbers say which; however the movement was written. Two batch sizes must agree.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Node

from featherlight.passes.graph import constant, names, operator_name

Numbers = NDArray[np.int64]

_MOVES = names(
    "view reshape _unsafe_view permute transpose contiguous clone detach alias cat concat concatenate split "
    "split_with_sizes chunk tensor_split slice narrow select index_select index channel_shuffle native_channel_shuffle "
    "flatten unflatten squeeze unsqueeze unbind stack getitem flip roll movedim moveaxis swapaxes swapdims t"
)
_PLACES = 1 << 24  # more than an image has positions
_UNKNOWN = object()


@dataclass
class Channels:
    """What holds which channels.

    Attributes:
        held: for each node, the numbers of its channels; nodes without channels are missing.
        sources: the nodes that compute, and the number of their first channel.
        sizes: height and width of each source, as far as it has them.
        owners: the source of each number.
        computing: moves that have to run as they are.
    """

    held: dict[Node, Numbers] = field(default_factory=dict)
    sources: dict[Node, int] = field(default_factory=dict)
    sizes: dict[Node, tuple[int, ...]] = field(default_factory=dict)
    owners: list[Node] = field(default_factory=list)
    computing: frozenset[Node] = frozenset()

    def add_source(self, node: Node, count: int, size: tuple[int, ...]) -> None:
        """A node that computes ``count`` channels."""
        self.sources[node], self.sizes[node] = len(self.owners), size
        self.held[node] = np.arange(len(self.owners), len(self.owners) + count)
        self.owners.extend([node] * count)


def is_move(node: Node) -> bool:
    """Whether a node only moves values."""
    return node.op == "call_function" and operator_name(node) in _MOVES


def find_channels(module: GraphModule, joined: frozenset[Node] = frozenset()) -> Channels:
    """Follows all channels through the graph.

    Args:
        module: the graph.
        joined: nodes that move values and yet are to be sources of their own.
    """
    computing = set(joined)
    while True:
        found = [_follow(module, computing, batch) for batch in (2, 3)]
        torn = _torn(module, found, computing)
        if not torn:
            found[0].computing = frozenset(computing)
            return found[0]
        computing |= torn


def _torn(module: GraphModule, found: list[Channels], computing: set[Node]) -> set[Node]:
    """Moves that do not keep channels whole although somebody needs their result: they have to run as they are."""
    first, second = (channels.held for channels in found)
    torn: set[Node] = set()
    for node in reversed(module.graph.nodes):
        if not is_move(node) or node in computing:
            continue
        whole = node in first and node in second and np.array_equal(first[node], second[node])
        needed = any(not is_move(user) or user in computing or user in torn for user in node.users)
        if (needed and not whole) or any(
            source in computing and source not in first for source in node.all_input_nodes
        ):
            torn.add(node)
    return torn


def _follow(module: GraphModule, computing: set[Node], batch: int) -> Channels:
    channels, last = Channels(), _last_users(module)
    values: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if is_move(node) and node not in computing:
            values[node] = _move(node, values)
            numbers = _numbers(values[node], channels)
            if numbers is not None:
                channels.held[node] = numbers
        else:
            values[node] = _compute(node, channels, batch)
        for source in node.all_input_nodes:
            if last[source] is node:
                values[source] = _UNKNOWN
    return channels


def _last_users(module: GraphModule) -> dict[Node, Node]:
    return {source: node for node in module.graph.nodes for source in node.all_input_nodes}


def _compute(node: Node, channels: Channels, batch: int) -> Any:
    """What is known of a node that computes: constants, sizes, or new channels."""
    if node.op == "get_attr":
        return constant(node)
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return _compute_size(value, batch)
    shape = _sizes(value, batch)
    if shape is None or len(shape) < 2 or not _has_batch(value):
        return _UNKNOWN
    channels.add_source(node, shape[1], shape[2:])
    if not any(is_move(user) for user in node.users):
        return _UNKNOWN
    numbers = torch.from_numpy(channels.held[node])
    return _codes(numbers, shape[2:], shape[0])


def _compute_size(value: Any, batch: int) -> Any:
    if isinstance(value, int | torch.SymInt):
        known = _size(value, batch)
        return _UNKNOWN if known is None else known
    return _UNKNOWN


def _has_batch(value: Tensor) -> bool:
    """Whether the first dimension is the batch: the symbol alone, or a number where the graph has no symbol."""
    first: Any = value.shape[0]
    return isinstance(first, int) or str(first.node.expr).isidentifier()


def _sizes(value: Tensor, batch: int) -> tuple[int, ...] | None:
    sizes = [_size(size, batch) for size in value.shape]
    return None if any(size is None for size in sizes) else tuple(size for size in sizes if size is not None)


def _size(size: Any, batch: int) -> int | None:
    """A size with the symbol for the batch put in."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    symbols = list(expression.free_symbols)
    if len(symbols) > 1:
        return None
    return int(expression.subs(dict.fromkeys(symbols, batch)))


def _codes(numbers: Tensor, size: tuple[int, ...], batch: int) -> Tensor:
    """A tensor (batch, channels, *size) that says at each place what stands there."""
    places = torch.arange(int(np.prod(size)), dtype=torch.int64).view(1, 1, *size)
    images = torch.arange(batch, dtype=torch.int64).view(-1, 1, *[1] * len(size))
    return (numbers.view(1, -1, *[1] * len(size)) * _PLACES + places) * batch + images


def _move(node: Node, values: dict[Node, Any]) -> Any:
    """Runs a move on what is known of its inputs."""
    inputs = node.all_input_nodes
    if any(values.get(source, _UNKNOWN) is _UNKNOWN for source in inputs):
        return _UNKNOWN
    args = torch.fx.node.map_arg(node.args, lambda source: values[source])
    kwargs = torch.fx.node.map_arg(node.kwargs, lambda source: values[source])
    function: Any = operator.getitem if node.target is operator.getitem else node.target
    try:
        return function(*args, **kwargs)
    except (RuntimeError, TypeError, IndexError, ValueError):
        return _UNKNOWN


def _numbers(value: Any, channels: Channels) -> Numbers | None:
    """The channels of a moved tensor, if all of them are whole."""
    if not isinstance(value, Tensor) or value.ndim < 2 or value.dtype != torch.int64 or not value.numel():
        return None
    size = tuple(value.shape[2:])
    images = len(value)
    numbers = value.reshape(images, value.shape[1], -1)[0, :, 0] // images // _PLACES
    if int(numbers.min()) < 0 or int(numbers.max()) >= len(channels.owners):
        return None
    if any(channels.sizes[owner] != size for owner in owners_of(channels, numbers.numpy())):
        return None
    return numbers.numpy() if torch.equal(value, _codes(numbers, size, images)) else None


def owners_of(channels: Channels, numbers: Iterable[int]) -> Iterator[Node]:
    """The sources of some channels, each once, in the order in which they come."""
    return iter(dict.fromkeys(channels.owners[number] for number in numbers))
