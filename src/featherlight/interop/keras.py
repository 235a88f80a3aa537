"""Keras's ShuffleNetV2 (the widely copied one: convolutions with bias in stem and end, ``same`` padding).

A Keras file lists layers by class and counter. What belongs where follows from the order in which the layers were
made, and that is the order of our modules. The configuration tells it, else the counters in the layers' names do; a
file with neither is refused, since in a stride-2 unit three norms may have one shape.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from featherlight.errors import ModelFileError
from featherlight.interop.keras_file import CONFIG, KIND, NAMED, PATH, natural_key
from featherlight.interop.keras_graph import WEIGHTED, Node, construction_order, read_graph
from featherlight.interop.weights import Weights

_PARAMETERS = {
    "kernel": "weight", "bias": "bias",
    "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
_COUNTED = re.compile(rf"({'|'.join(WEIGHTED)})(_\d+)?")


def recognise(names: Collection[str]) -> bool:
    """True for a network of Keras with depthwise convolutions or not; the family is checked by its shapes."""
    return any(name.endswith("/moving_variance") for name in names)


def translate(weights: Weights, model: nn.Module) -> dict[str, Tensor]:
    """Layers in the order of construction become our modules in theirs; kernels get PyTorch's order of axes.

    Raises:
        ModelFileError: the file does not tell the order.
    """
    layers = order_layers(weights)
    state = {}
    for kind in WEIGHTED:
        ours = [name for name, module in model.named_modules() if _kind(module) == kind]
        theirs = [name for name, its_kind in layers if its_kind == kind]
        for name, layer in zip(ours, theirs, strict=False):  # others are reported as missing or left over
            for variable, parameter in _PARAMETERS.items():
                if f"{layer}/{variable}" in weights:
                    tensor = weights.take(f"{layer}/{variable}")
                    state[f"{name}.{parameter}"] = _our_axes(kind, tensor) if variable == "kernel" else tensor
    return state


def order_layers(weights: Weights) -> list[tuple[str, str]]:
    """The file's layers, name and kind, in the order of their construction.

    Raises:
        ModelFileError: nothing in the file tells it.
    """
    kinds: Mapping[str, str] = weights.metadata[KIND]
    path, config, named = (weights.metadata[key] for key in (PATH, CONFIG, NAMED))
    layers = sorted(kinds, key=natural_key)
    try:
        nodes = read_graph(config) if config is not None else []
        places = _places(layers, nodes) if named else _counted_places(kinds, nodes)
        if places:
            order = {name: at for at, name in enumerate(construction_order(nodes))}
            found = sorted((order[node.name], layer, node.kind) for layer, node in places.items())
            return [(layer, kind) for _, layer, kind in found]
    except ValueError as error:
        raise ModelFileError(f"{path}: the order of its layers cannot be told: {error}") from error
    if named and all(_COUNTED.fullmatch(layer) for layer in layers):
        return [(layer, kinds[layer]) for layer in layers]
    raise ModelFileError(
        f"{path}: does not tell which of several layers of one shape is which: it numbers them by their depth in the "
        "graph, or they have names of their own, and there is no configuration. Save the whole model as .keras, or "
        "write model.to_json() into a file of the same name that ends in .json, beside this one"
    )


def _places(layers: list[str], nodes: list[Node]) -> dict[str, Node]:
    """Each layer in the configuration, by name; empty if that is another model's."""
    by_name = {node.name: node for node in nodes}
    return {layer: by_name[layer] for layer in layers} if by_name.keys() >= set(layers) else {}


def _counted_places(kinds: Mapping[str, str], nodes: list[Node]) -> dict[str, Node]:
    """Each layer in the configuration, by counter: of each class they follow the configuration's order."""
    places: dict[str, Node] = {}
    for kind in set(kinds.values()) if nodes else ():
        theirs = [node for node in nodes if node.kind == kind]
        ours = sorted((layer for layer in kinds if kinds[layer] == kind), key=natural_key)
        if len(ours) != len(theirs):
            raise ValueError(f"the configuration has {len(theirs)} layers of {kind}, the file has {len(ours)}")
        places |= dict(zip(ours, theirs, strict=True))
    return places


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, nn.Conv2d):
        return "conv2d" if module.groups == 1 else "depthwise_conv2d"
    if isinstance(module, nn.BatchNorm2d):
        return "batch_normalization"
    return "dense" if isinstance(module, nn.Linear) else None


def _our_axes(kind: str, kernel: Tensor) -> Tensor:
    """(H, W, in, out) -> (out, in, H, W); depthwise (H, W, in, 1) -> (in, 1, H, W); dense (in, out) -> (out, in)."""
    if kernel.ndim == 4:
        return kernel.permute(2, 3, 0, 1) if kind == "depthwise_conv2d" else kernel.permute(3, 2, 0, 1)
    return kernel.T if kernel.ndim == 2 else kernel
