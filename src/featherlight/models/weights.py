"""Networks to model files and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.images import Preprocessing
from featherlight.model_file import (
    ModelCard,
    find_model_file,
    find_reject_problem,
    read_card,
    read_shapes,
    read_tensors,
    write_model_file,
)
from featherlight.models.registry import create_model


def save_model(
    model: nn.Module,
    path: str | Path,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    temperature: float = 1.0,
    provenance: Mapping[str, Any] | None = None,
    reject: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model made by ``create_model`` as one model file, atomically.

    Args:
        model: the network; its weights and running statistics are stored.
        path: file to write, usually ``*.safetensors``.
        classes: names in the order of the logits.
        preprocessing: how an image becomes the network's input.
        temperature: divides the logits before the softmax.
        provenance: where the model came from; anything JSON can hold.
        reject: when an image is none of the classes; see :class:`featherlight.model_file.ModelCard`.

    Raises:
        UsageError: the network was not made by ``create_model``, or classes do not fit its outputs.
    """
    arguments = dict(getattr(model, "featherlight_arguments", {}))
    if not arguments:
        raise UsageError("save_model stores networks made by featherlight.create_model; this one was not")
    if not all(isinstance(name, str) for name in classes):
        raise UsageError("class names must be texts")
    if len(classes) != arguments["num_classes"] or len(set(classes)) != len(classes):
        raise UsageError(
            f"{len(classes)} class names for {arguments['num_classes']} outputs; one different name each is needed"
        )
    given, taken = preprocessing.in_channels, arguments["in_channels"]
    if given != taken:
        raise UsageError(f"the preprocessing gives {given} channels, the network takes {taken}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(f"temperature is {temperature}; a positive number is needed")
    problem = None if reject is None else find_reject_problem(reject)
    if problem:
        raise UsageError(f"reject: {problem}")
    name = arguments.pop("name")
    card = ModelCard(name, arguments, tuple(classes), preprocessing, temperature, provenance or {}, reject)
    tensors = {key: tensor.detach().cpu().contiguous().numpy() for key, tensor in model.state_dict().items()}
    write_model_file(Path(path), tensors, card)
    return Path(path)


def load_model(path: str | Path) -> nn.Module:
    """Loads a model file or run directory.

    Returns:
        The network in evaluation mode, on the CPU, with attributes ``classes``, ``preprocessing`` and ``card``.

    Raises:
        ModelFileError: the file is damaged, foreign or does not fit its network.
    """
    file = find_model_file(path)
    card = read_card(file)
    model = _build_empty(file, card)
    _check_shapes(file, model, read_shapes(file))
    state = {name: torch.from_numpy(array) for name, array in read_tensors(file).items()}
    _check_types(file, model, state)
    model = _fill(model, card, state)
    model.eval().requires_grad_(True)
    model.card = card  # type: ignore[assignment]
    model.classes = card.classes  # type: ignore[assignment]
    model.preprocessing = card.preprocessing  # type: ignore[assignment]
    return model


def _build_empty(file: Path, card: ModelCard) -> nn.Module:
    """Builds the network without memory for weights: a hostile size costs nothing before it is compared."""
    if "pretrained" in card.arguments:  # reading a file never leads to the network
        raise ModelFileError(f"{file}: a model file has its own weights, but this one asks for pretrained ones")
    try:
        with torch.device("meta"):
            return create_model(card.model, **card.arguments)
    except (FeatherlightError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelFileError(
            f"{file}: cannot build the network {card.model!r} as the file describes it: {_shown(error, 400)}"
        ) from error


def _fill(model: nn.Module, card: ModelCard, state: Mapping[str, torch.Tensor]) -> nn.Module:
    model.load_state_dict(state, assign=True)
    if any(buffer.is_meta for buffer in model.buffers()):  # tables of some of timm's networks are computed, not stored
        model = create_model(card.model, **card.arguments)
        model.load_state_dict(state)
    return model


def _check_shapes(file: Path, model: nn.Module, found: Mapping[str, tuple[int, ...]]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    wrong = [name for name in expected.keys() & found.keys() if expected[name] != found[name]]
    if missing or extra or wrong:
        details = [
            f"{label}: {', '.join(map(_shown, names[:3]))}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for label, names in (("missing", missing), ("left over", extra), ("of another shape", sorted(wrong)))
            if names
        ]
        raise ModelFileError(f"{file}: its weights do not fit the network; {'; '.join(details)}")


def _shown(text: object, length: int = 60) -> str:  # what a file says may be long and full of control characters
    return ascii(str(text)[:length])[1:-1]


def _check_types(file: Path, model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        if state[name].dtype != tensor.dtype:
            raise ModelFileError(f"{file}: {name} is {state[name].dtype}, {tensor.dtype} is expected")
        if not torch.isfinite(state[name]).all():
            raise ModelFileError(f"{file}: {name} holds NaN or infinite values")
