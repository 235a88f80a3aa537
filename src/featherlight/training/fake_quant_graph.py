"""A float network rewritten so that it rounds as its int8 form will, in the places where ONNX Runtime rounds."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from featherlight.errors import UsageError
from featherlight.training.fake_quant import ActivationRange, folded_convolution, rounded_linear

_LAYERS = "layers"  # of each in the order in which they run: its name, the modules that round its input and output
PREFIX = "activation_range_"  # of the modules that round activations; their state is not the float network's

# An activation that only cuts off is done by the range of the tensor behind it.
_CUTTING = (nn.ReLU, nn.ReLU6, F.relu, F.relu6, torch.relu, "relu", "relu_")
# These hand values on as they are, so that they stay on the grid.
_PASSING = (
    nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.ChannelShuffle, F.max_pool2d, torch.max_pool2d, F.dropout,
    torch.flatten, torch.channel_shuffle, torch.chunk, torch.split, torch.transpose, torch.permute, torch.reshape,
    operator.getitem, "chunk", "split", "view", "reshape", "transpose", "permute", "contiguous", "flatten",
)  # fmt: skip
_AVERAGING = (nn.AvgPool2d, F.avg_pool2d, torch._C._nn.avg_pool2d)  # rounded again, on the same grid
_JOINING = (operator.add, operator.iadd, torch.add, "add", "add_", torch.cat, torch.concat)


@dataclass(frozen=True)
class LayerRanges:
    """Learnt ranges around one layer.

    Attributes:
        layer: the module's name.
        input: lowest and highest value that comes in.
        output: of what goes out, behind its activation; None where that stays float.
    """

    layer: str
    input: tuple[float, float]
    output: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """For the model file."""
        return {"layer": self.layer, "input": list(self.input), "output": self.output and list(self.output)}


def fake_quantized(network: nn.Module) -> fx.GraphModule:
    """The same network, sharing its parameters, with everything rounded that ONNX Runtime will round.

    Batch norms behind convolutions use their running statistics, also in training.

    Raises:
        UsageError: the network's way depends on its values, so that it cannot be followed.
    """
    training = network.training
    try:
        graph = fx.Tracer().trace(network.eval())
    except Exception as error:  # whatever the network's code does with a tensor that has no values
        raise UsageError(f"this network cannot be fine-tuned for int8: {str(error)[:200]}") from error
    finally:
        network.train(training)
    return _Rewriter(network, graph).rewrite()


@contextmanager
def watching(network: fx.GraphModule) -> Iterator[None]:
    """Inside, the network computes in float and its ranges take in what they see; then they are settled."""
    ranges = [module for module in network.modules() if isinstance(module, ActivationRange)]
    for module in ranges:
        module.watching = True
    yield
    for module in ranges:
        module.settle()


def learnt_ranges(network: fx.GraphModule) -> list[LayerRanges]:
    """The range around each layer, in the order in which they run."""

    def ends(name: str) -> tuple[float, float]:
        return cast("ActivationRange", network.get_submodule(name)).ends()

    return [LayerRanges(name, ends(before), behind and ends(behind)) for name, before, behind in network.meta[_LAYERS]]


def float_state(network: nn.Module) -> dict[str, Tensor]:
    """The state that the float network shares."""
    return {name: value for name, value in network.state_dict().items() if not name.startswith(PREFIX)}


class _Rewriter:
    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self._modules = dict(network.named_modules())
        self._network, self._graph = network, graph
        self._ranges: dict[fx.Node, str] = {}
        self._added: dict[str, nn.Module] = {}

    def rewrite(self) -> fx.GraphModule:
        layers = self._fold_layers()
        self._insert_ranges(self._rounded(layers))
        self._stop_writing_in_place()
        self._graph.lint()
        result = fx.GraphModule(self._attributes(), self._graph)
        result.meta[_LAYERS] = [  # stays with copies of the network
            (name, self._ranges[self._root(node.args[0])], self._ranges.get(self._behind(node)))
            for node, name in layers.items()
        ]
        return result

    def _stop_writing_in_place(self) -> None:
        """What is rounded is needed again by the backward pass."""
        for node in self._graph.nodes:
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
            if node.target is operator.iadd:
                node.target = operator.add

    def _fold_layers(self) -> dict[fx.Node, str]:
        """Replaces convolutions, with the norm behind them, and linear layers; gives each its module's name."""
        layers = {}
        for node in list(self._graph.nodes):
            module = self._module(node)
            if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
                layers[self._fold_convolution(node, module)] = str(node.target)
            elif isinstance(module, nn.Linear):
                layers[self._replace(node, rounded_linear, self._parameters(node, "weight", "bias"))] = str(node.target)
        return layers

    def _fold_convolution(self, node: fx.Node, module: nn.Conv2d) -> fx.Node:
        norm, last = None, node
        user = next(iter(node.users)) if len(node.users) == 1 else None
        behind = None if user is None else self._module(user)
        if isinstance(behind, nn.BatchNorm2d) and user is not None:
            names = ("running_mean", "running_var", "weight", "bias")
            norm, last = (*self._parameters(user, *names), behind.eps), user
        shape = (module.stride, module.padding, module.dilation, module.groups)
        arguments = (*self._parameters(node, "weight", "bias"), norm, *shape)
        folded = self._replace(last, folded_convolution, arguments, node.args[0])
        if last is not node:
            self._graph.erase_node(node)
        return folded

    def _replace(self, node: fx.Node, function: Any, arguments: Iterable[Any], given: Any = None) -> fx.Node:
        with self._graph.inserting_before(node):
            new = self._graph.call_function(function, (node.args[0] if given is None else given, *arguments))
        node.replace_all_uses_with(new)
        self._graph.erase_node(node)
        return new

    def _parameters(self, node: fx.Node, *names: str) -> tuple[fx.Node | None, ...]:
        module = self._modules[str(node.target)]
        with self._graph.inserting_before(node):
            return tuple(
                None if getattr(module, name) is None else self._graph.get_attr(f"{node.target}.{name}")
                for name in names
            )

    def _rounded(self, layers: Iterable[fx.Node]) -> list[fx.Node]:
        """The values that are rounded: what layers and sums take, and what all but the last layer give."""
        linear = {node for node in layers if node.target is rounded_linear}
        joining = [node for node in self._graph.nodes if self._is(node, _JOINING) and len(node.all_input_nodes) > 1]
        chosen: set[fx.Node] = set()
        for node in (*layers, *joining):
            taken = node.all_input_nodes if node in joining else [node.args[0]]
            chosen.update(self._root(value) for value in taken if isinstance(value, fx.Node))
            if node not in linear:
                chosen.add(self._behind(node))
        results = {value for node in self._graph.nodes if node.op == "output" for value in node.all_input_nodes}
        return [node for node in self._graph.nodes if node in chosen and node not in results]

    def _insert_ranges(self, rounded: Iterable[fx.Node]) -> None:
        for number, node in enumerate(rounded):
            name = f"{PREFIX}{number}"
            self._added[name] = ActivationRange()
            self._ranges[node] = name
            self._insert(node, name)
        for node in list(self._graph.nodes):
            if self._is(node, _AVERAGING) and self._root(node) in self._ranges:
                self._insert(node, self._ranges[self._root(node)])

    def _insert(self, node: fx.Node, name: str) -> None:
        with self._graph.inserting_after(node):
            new = self._graph.create_node("call_module", name, (node,))
        node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)

    def _root(self, value: Any) -> fx.Node:
        """Where a value comes from, before everything that only hands it on."""
        node: fx.Node = value
        while self._is(node, (*_PASSING, *_AVERAGING)) or str(node.target).startswith(PREFIX):
            node = node.all_input_nodes[0]
        return node

    def _behind(self, node: fx.Node) -> fx.Node:
        """The value that is rounded for a layer or sum: itself, or what its activation makes of it."""
        users = [user for user in node.users if not str(user.target).startswith(PREFIX)]
        return users[0] if len(users) == 1 and self._is(users[0], _CUTTING) else node

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._modules.get(str(node.target)) if node.op == "call_module" else None

    def _is(self, node: fx.Node, kinds: tuple[Any, ...]) -> bool:
        if node.op == "call_module":
            return type(self._module(node)) in kinds
        return node.op in ("call_function", "call_method") and node.target in kinds

    def _attributes(self) -> dict[str, Any]:
        """What the graph refers to, by name."""
        found: dict[str, Any] = dict(self._added)
        for node in self._graph.nodes:
            name = str(node.target)
            if node.op == "call_module" and name not in found:
                found[name] = _not_in_place(self._modules[name])
            elif node.op == "get_attr":
                found[name] = operator.attrgetter(name)(self._network)
        return found


def _not_in_place(module: nn.Module) -> nn.Module:
    if not getattr(module, "inplace", False):
        return module
    module = copy.copy(module)
    module.inplace = False  # type: ignore[assignment]
    return module
