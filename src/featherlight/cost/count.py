"""Trace -> cost: operators become layers, parameters go to the layer that first uses them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from torch import nn

from featherlight.cost.result import Cost, Layer
from featherlight.cost.trace import Call, Tracer, trace, zeros_for
from featherlight.errors import UsageError


@dataclass
class _Row:
    """A layer while its operators are added up."""

    type: str
    calls: list[Call] = field(default_factory=list)
    params: int = 0

    def to_layer(self, name: str) -> Layer:
        return Layer(
            name=name,
            type=self.type,
            output=_without_batch(self.calls[-1].output) if self.calls else (),
            params=self.params,
            macs=sum(call.macs for call in self.calls),
            activation_bytes=sum(call.computed_bytes for call in self.calls),
            moved_bytes=sum(call.computed_bytes + call.read_bytes for call in self.calls if call.computed_bytes),
        )


def count_cost(network: nn.Module, input_shape: tuple[int, int, int], name: str) -> Cost:
    """Counts what ``network`` costs for one image.

    The network runs once on zeros, where its weights are: on the ``meta`` device nothing is computed.

    Args:
        network: any module that takes a batch of images; it comes back as it was.
        input_shape: channels, height and width of the image.
        name: what the result calls the network.

    Raises:
        UsageError: the network cannot take such an image.
    """
    tracer = _trace(network, input_shape, name)
    layers = {key: row.to_layer(key) for key, row in _rows(network, tracer).items()}
    shown = tuple(layer for layer in layers.values() if layer.params or layer.macs or layer.activation_bytes)
    macs = sum(layer.macs for layer in shown)
    return Cost(name, input_shape, shown, macs - _classifier_macs(shown))


def layer_name(module: str, operator: Any, containers: Container[str], root: str) -> str:
    """The layer to which an operator belongs: its module, or ``module.op()`` where the module calls others."""
    if module not in containers:
        return module or root
    return f"{module}.{_operator_name(operator)}()".lstrip(".")


def _trace(network: nn.Module, input_shape: tuple[int, int, int], name: str) -> Tracer:
    try:
        return trace(network, zeros_for(network, 1, *input_shape))
    except Exception as error:  # whatever the forward of a foreign module raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{name} does not run on an input of {_times(input_shape)}: {reason}") from error


def _rows(network: nn.Module, tracer: Tracer) -> dict[str, _Row]:
    modules = dict(network.named_modules())
    sizes = [parameter.numel() for parameter in network.parameters()]
    rows: dict[str, _Row] = {}
    seen: set[int] = set()
    for call in tracer.calls:
        is_container = call.module in tracer.containers
        name = layer_name(call.module, call.operator, tracer.containers, type(network).__name__)
        kind = _operator_name(call.operator) if is_container else type(modules[call.module]).__name__
        row = rows.setdefault(name, _Row(kind))
        row.calls.append(call)
        row.params += sum(sizes[index] for index in call.params if index not in seen)
        seen.update(call.params)
    _add_unused(network, rows, seen)
    return rows


def _add_unused(network: nn.Module, rows: dict[str, _Row], seen: set[int]) -> None:
    """Parameters that no operator was given, as those of heads for training only: a row for each owner."""
    for index, (name, parameter) in enumerate(network.named_parameters()):
        if index not in seen:
            owner = name.rpartition(".")[0]
            kind = type(network.get_submodule(owner)).__name__
            rows.setdefault(owner or kind, _Row(kind)).params += parameter.numel()


def _classifier_macs(layers: Sequence[Layer]) -> int:
    """Of the fully connected layers at the end: those that work on one vector, with no other multiplying after them."""
    multiplying = [layer for layer in layers if layer.macs]
    return sum(layer.macs for layer in takewhile(lambda layer: len(layer.output) == 1, reversed(multiplying)))


def _operator_name(operator: Any) -> str:
    return str(operator.__name__).strip("_")


def _without_batch(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if shape is None:
        return ()
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
