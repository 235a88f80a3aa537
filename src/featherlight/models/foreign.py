"""Weights of other implementations into our networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from featherlight.errors import ModelFileError, UsageError
from featherlight.interop.layouts import Layout, find_layout
from featherlight.interop.reading import read_weights
from featherlight.interop.weights import Weights
from featherlight.models.catalogue import model_info

_COUNTER = "num_batches_tracked"  # only training with momentum=None reads it; many files lack it


def load_weights(model: nn.Module, path: str | Path, layout: str | None = None) -> nn.Module:
    """Fills a network with weights that another implementation wrote.

    Every parameter and running statistic of the file is used, and every one of the network is set; channels are
    brought into our order exactly. Then the network gives the logits of the original.

    Args:
        model: made by ``create_model``; filled in place, and left alone if anything is wrong.
        path: a PyTorch file (read without executing anything) or a safetensors file.
        layout: whose names the file has, for example "torchvision"; None reads it off the names.

    Returns:
        ``model``.

    Raises:
        ModelFileError: the file cannot be read or does not fit; the message lists what is missing, left over or
            of another shape.
        UsageError: an unknown layout, or a network not made by ``create_model``.
    """
    arguments = getattr(model, "featherlight_arguments", None)
    if arguments is None:
        raise UsageError("load_weights fills networks made by featherlight.create_model; this one was not")
    weights = read_weights(path)
    found = find_layout(list(weights), model_info(arguments["name"]).family, layout)
    model.load_state_dict(translate(weights, model, found, str(path)))
    return model


def translate(weights: Weights, model: nn.Module, layout: Layout, origin: str) -> dict[str, Tensor]:
    """Weights in ``layout`` as a state dict for ``model``, checked; ``origin`` names them in messages.

    Raises:
        ModelFileError: they do not fit.
    """
    expected = model.state_dict()
    state = layout.translate(weights, model)
    for name, tensor in expected.items():
        if name.endswith(_COUNTER):
            state.setdefault(name, tensor)
    _check(origin, expected, state, weights)
    state = {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}
    return layout.reorder(state, model)


def _check(origin: str, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], weights: Weights) -> None:
    problems = {
        "missing": [name for name in expected if name not in state],
        "left over": list(weights),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
        "not finite": [name for name, tensor in state.items() if not torch.isfinite(tensor).all()],
    }
    details = [f"{label}: {_listing(names)}" for label, names in problems.items() if names]
    if details:
        raise ModelFileError(f"{origin}: its weights do not fit the network; {'; '.join(details)}")


def _listing(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:80])[1:-1] for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
