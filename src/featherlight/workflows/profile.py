"""A network, trained or not -> what it costs, counted and measured here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from featherlight.console import note
from featherlight.cost.count import count_cost
from featherlight.cost.latency import check_threads, usable_cores
from featherlight.cost.network_latency import MeasuredCost, measure_cost
from featherlight.cost.result import Cost
from featherlight.cost.unit_plot import plot_units
from featherlight.cost.units import UnitCost, UnitSize, convolution_costs, unit_costs
from featherlight.errors import UsageError
from featherlight.models.registry import create_model
from featherlight.models.timm_networks import PREFIX, published_input_size
from featherlight.models.weights import load_model

DEFAULT_INPUT_SIZE = 224
DEFAULT_BATCHES = (1, 8)

Shape = tuple[int, int, int]


def profile(
    model: nn.Module | str | Path, input_size: int | Shape | None = None, *, num_classes: int | None = None
) -> Cost:
    """Counts what a network costs for one image: parameters, multiply-adds and activations, layer by layer.

    Args:
        model: any module that takes a batch of images, a run directory, a model file or a network's name.
        input_size: side of the image in pixels, or channels, height and width. By default what the model was made
            for, else 224.
        num_classes: outputs of a network given by name; by default 1000.

    Raises:
        UsageError: no such network, or it cannot take such an image.
        ModelFileError: no usable model file.
    """
    network, name = _open(model, input_size, num_classes)
    return count_cost(network, _input_shape(network, input_size), name)


def profile_latency(
    model: nn.Module | str | Path,
    input_size: int | Shape | None = None,
    *,
    num_classes: int | None = None,
    batches: Sequence[int] = DEFAULT_BATCHES,
    threads: Sequence[int] | None = None,
    budget_s: float = 2.0,
) -> MeasuredCost:
    """Counts what a network costs and measures it with PyTorch on this machine's processor.

    Args:
        model: as for :func:`profile`.
        input_size: as for :func:`profile`.
        num_classes: as for :func:`profile`.
        batches: numbers of images at a time.
        threads: numbers of threads; by default one, and all cores of this process.
        budget_s: seconds to spend on each number, about.

    Raises:
        UsageError: as for :func:`profile`, or more threads than cores.
        ModelFileError: no usable model file.
    """
    threads = threads or sorted({1, usable_cores()})
    for count in threads:
        check_threads(count)
    network, name = _open(model, input_size, num_classes)
    shape = _input_shape(network, input_size)
    note(f"measuring {name} for about {budget_s * (1 + len(batches) * len(threads)):.0f} s")
    return measure_cost(network, shape, name, batches, threads, budget_s)


def profile_units(plot: Path | None = None, **sizes: int) -> tuple[UnitSize, list[UnitCost]]:
    """Costs of single units and convolutions, by formula and as counted.

    Args:
        plot: a .png or .svg file to draw them in.
        sizes: fields of :class:`featherlight.cost.units.UnitSize`.

    Raises:
        UsageError: groups that do not divide channels, or a plot of another format.
        MissingExtraError: a plot is wanted and matplotlib is not installed.
    """
    size = UnitSize(**sizes)
    if plot is not None:
        plot_units(plot, size)
    return size, [*unit_costs(size), *convolution_costs(size)]


def _open(
    model: nn.Module | str | Path, input_size: int | Shape | None, num_classes: int | None
) -> tuple[nn.Module, str]:
    _check_size(input_size)
    if isinstance(model, nn.Module):
        arguments = getattr(model, "featherlight_arguments", {})
        return model, str(arguments.get("name", type(model).__name__))
    if os.path.exists(model):
        if num_classes is not None:
            raise UsageError(f"{model} is trained and has its number of classes; leave out --num-classes")
        return load_model(model), str(model)
    name = str(model)
    return _create(name, input_size, num_classes), name


def _create(name: str, input_size: int | Shape | None, num_classes: int | None) -> nn.Module:
    if not name.startswith(PREFIX) and (os.sep in name or name.endswith(".safetensors")):
        raise UsageError(f"{name}: no such run directory or model file")
    channels, side = 3, published_input_size(name) if name.startswith(PREFIX) else DEFAULT_INPUT_SIZE
    if isinstance(input_size, int):
        side = input_size
    elif input_size is not None:
        channels, side = input_size[0], min(input_size[1:])
    return create_model(name, 1000 if num_classes is None else num_classes, in_channels=channels, input_size=side)


def _input_shape(network: nn.Module, input_size: int | Shape | None) -> Shape:
    if isinstance(input_size, tuple):
        return input_size
    side = _made_for(network) if input_size is None else input_size
    return _in_channels(network), side, side


def _check_size(input_size: object) -> None:
    if input_size is None:
        return
    numbers = input_size if isinstance(input_size, tuple) and len(input_size) == 3 else (input_size,)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise UsageError(f"input_size is {input_size!r}; give a side in pixels, or channels, height and width")


def _made_for(network: nn.Module) -> int:
    """Side of the images that the network was trained on or built for."""
    if (preprocessing := getattr(network, "preprocessing", None)) is not None:
        return int(preprocessing.input_size)
    arguments = getattr(network, "featherlight_arguments", None)
    if arguments is not None:
        return int(arguments["input_size"])
    config = getattr(network, "pretrained_cfg", None) or {}  # timm's
    return int(config["input_size"][-1]) if "input_size" in config else DEFAULT_INPUT_SIZE


def _in_channels(network: nn.Module) -> int:
    """Channels of the image: what the first convolution takes."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels
