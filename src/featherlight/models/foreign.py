"""Weights of other implementations into our networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from featherlight.errors import ModelFileError, UsageError
from featherlight.interop.layouts import Layout, named_layout, recognise_layout
from featherlight.interop.permutations import OrderError
from featherlight.interop.reading import read_weights
from featherlight.interop.weights import Weights
from featherlight.model_file import MAX_CLASSES
from featherlight.models.catalogue import ModelInfo, find_info, model_info
from featherlight.models.registry import create_model

_COUNTER = "num_batches_tracked"  # read only in training with momentum=None; many files lack it


def load_weights(model: nn.Module, path: str | Path, layout: str | None = None) -> nn.Module:
    """Fills a network with weights that another implementation wrote; it then gives the original's logits.

    Every parameter and running statistic in the file is used exactly once, and every one of the network is set.
    Channels that stand in another order are put into ours.

    Args:
        model: made by ``create_model``; filled in place, and left as it was if anything is wrong.
        path: a file of PyTorch, MindSpore (``.ckpt``), Keras (``.h5``, ``.weights.h5``, ``.keras``) or safetensors;
            nothing in it is executed.
        layout: whose names the file has, for example "torchvision"; None reads it off the names.

    Returns:
        ``model``.

    Raises:
        ModelFileError: the file cannot be read or does not fit; the message lists what is missing, left over or of
            another shape, or names the variant that the weights belong to.
        UsageError: an unknown layout, or a network not made by ``create_model``.
    """
    name = getattr(model, "featherlight_arguments", {}).get("name")
    if name is None:
        raise UsageError("load_weights fills networks made by featherlight.create_model; this one was not")
    weights, chosen = _open(path, model_info(name), layout)
    model.load_state_dict(translate(weights, model, chosen, str(path)))
    return model


def model_from_weights(
    path: str | Path, name: str, layout: str | None = None, input_size: int | None = None
) -> tuple[nn.Module, str]:
    """Builds the network ``name`` around weights: classes and image channels are read off them.

    Args:
        path: as for :func:`load_weights`.
        name: one of ``list_models()``.
        layout: as for :func:`load_weights`.
        input_size: side in pixels of the images to come. None: 32 for networks published for such, else 224.

    Returns:
        The network in evaluation mode, and the layout's name.

    Raises:
        ModelFileError: as for :func:`load_weights`.
        UsageError: an unknown network or layout.
    """
    info = model_info(name)
    weights, chosen = _open(path, info, layout)
    size = input_size or (32 if info.stem == "cifar" else 224)
    with torch.device("meta"):
        sketch = create_model(name, input_size=size)
    found = chosen.translate(Weights(dict(weights.tensors), weights.metadata), sketch)
    names = list(sketch.state_dict())
    first, last = names[0], [key for key in names if sketch.state_dict()[key].ndim == 2][-1]
    model = create_model(
        name,
        num_classes=_read_size(path, found, last, 0, MAX_CLASSES, default=1000),
        in_channels=_read_size(path, found, first, 1, 4, default=3),
        input_size=size,
    )
    model.load_state_dict(translate(weights, model, chosen, str(path)))
    return model.eval(), chosen.name


def translate(weights: Weights, model: nn.Module, layout: Layout, origin: str) -> dict[str, Tensor]:
    """Weights in a layout as a state dict for a network.

    Args:
        weights: are taken out of.
        model: made by ``create_model``; stays as it is.
        layout: of the weights.
        origin: the file, for messages.

    Raises:
        ModelFileError: they do not fit the network, or belong to another variant of it.
    """
    _check_variant(origin, model, layout)
    expected = model.state_dict()
    state = layout.translate(weights, model)
    state |= {name: tensor for name, tensor in expected.items() if name.endswith(_COUNTER) and name not in state}
    _check(origin, expected, state, weights)
    state = {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}
    try:
        return layout.reorder(state, model)
    except OrderError as error:
        name = model.featherlight_arguments["name"]  # type: ignore[index]
        raise ModelFileError(f"{origin}: {layout.name}'s network is another function than {name} ({error})") from error


def _open(path: str | Path, info: ModelInfo, layout: str | None) -> tuple[Weights, Layout]:
    chosen = named_layout(layout, info.family) if layout is not None else None
    weights = read_weights(path)
    return weights, chosen or recognise_layout(str(path), list(weights), info.family)


def _read_size(path: str | Path, state: Mapping[str, Tensor], name: str, axis: int, limit: int, default: int) -> int:
    shape = state[name].shape if name in state else ()
    if len(shape) <= axis:  # soon listed as missing, or of another shape
        return default
    if not 1 <= shape[axis] <= limit:
        raise ModelFileError(f"{path}: {name} has shape {tuple(shape)}; at most {limit:,} are accepted")
    return shape[axis]


def _check_variant(origin: str, model: nn.Module, layout: Layout) -> None:
    """Refuses weights whose implementation computes something else with them, even where all shapes fit."""
    arguments: Mapping[str, object] = model.featherlight_arguments  # type: ignore[assignment]
    info = model_info(str(arguments["name"]))
    if info.options is None or "options" in arguments or layout.name == "featherlight":
        return
    proper = find_info(f"{info.plain}.{layout.name}") or model_info(info.plain)
    if proper.options is None or replace(proper.options, output="logits") == replace(info.options, output="logits"):
        return
    differs = f" ({proper.differs})" if proper.differs else ""
    raise ModelFileError(
        f"{origin}: weights in {layout.name}'s layout belong to {proper.name}, which computes something else than "
        f"{info.name}{differs}"
    )


def _check(origin: str, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], weights: Weights) -> None:
    fitting = {name: state[name] for name in expected if name in state}
    problems = {
        "missing": [name for name in expected if name not in state],
        "left over": [*weights, *(name for name in state if name not in expected)],
        "of another shape": [
            f"{name} {tuple(tensor.shape)} for {tuple(expected[name].shape)}"
            for name, tensor in fitting.items()
            if tensor.shape != expected[name].shape
        ],
        "of another type": [
            f"{name} ({tensor.dtype})"
            for name, tensor in fitting.items()
            if tensor.is_floating_point() != expected[name].is_floating_point()
            or tensor.layout != torch.strided
            or tensor.is_meta
        ],
    }
    if not any(problems.values()):
        problems["not finite"] = [name for name, tensor in fitting.items() if not torch.isfinite(tensor).all()]
    details = [f"{label}: {_listing(names)}" for label, names in problems.items() if names]
    if details:
        raise ModelFileError(f"{origin}: its weights do not fit the network; {'; '.join(details)}")


def _listing(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:80])[1:-1] for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
