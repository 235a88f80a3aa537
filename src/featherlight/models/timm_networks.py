"""Networks of timm (Wightman, PyTorch Image Models) under the names ``timm/NAME``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from featherlight.errors import MissingExtraError, UsageError, did_you_mean
from featherlight.models.catalogue import TIMM
from featherlight.models.layers import Stem

PREFIX = f"{TIMM}/"
MAX_INPUT_SIZE = 4096  # a model file may say anything; tables of positions grow with the side's fourth power


def timm_network(
    name: str, num_classes: int, in_channels: int, input_size: int, stem: Stem | None, dropout: float | None
) -> nn.Module:
    """Builds timm's network ``timm/NAME`` with fresh weights.

    Args:
        name: with the prefix; a tag (``timm/resnet18.a1_in1k``) only chooses timm's settings, no weights are loaded.
        num_classes: outputs.
        in_channels: channels of the image.
        input_size: side of the images; transformers are built for it.
        stem: "imagenet" or None: timm's networks have only their published stem.
        dropout: timm's ``drop_rate``; None: the network's own.

    Raises:
        UsageError: timm has no such network, or it cannot be built so.
        MissingExtraError: timm is not installed.
    """
    if stem == "cifar":
        raise UsageError(f"{name} has only its published stem; leave out stem, or choose stem=imagenet")
    if input_size > MAX_INPUT_SIZE:
        raise UsageError(f"input_size is {input_size}; {name} is built for at most {MAX_INPUT_SIZE}")
    timm, config = _find(name)
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels}
    if dropout is not None:
        options["drop_rate"] = dropout
    if config.fixed_input_size and input_size != config.input_size[-1]:
        options["img_size"] = input_size
    try:
        network: nn.Module = timm.create_model(name.removeprefix(PREFIX), pretrained=False, **options)
        if input_size != config.input_size[-1]:
            _try_out(network, in_channels, input_size)
    except Exception as error:  # whatever a network of timm raises when an option does not fit
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{name} cannot be built for {in_channels}x{input_size}x{input_size}: {reason}") from error
    return network


def _try_out(network: nn.Module, in_channels: int, input_size: int) -> None:
    """Runs once: networks have sizes that they cannot take, and say so only then."""
    device = next(network.parameters()).device
    if device.type != "meta":  # being loaded: it has run before
        with torch.inference_mode():
            network.eval()(torch.zeros(1, in_channels, input_size, input_size, device=device))
        network.train()


def published_input_size(name: str) -> int:
    """Side of the images that ``timm/NAME`` was published for.

    Raises:
        UsageError: timm has no such network.
        MissingExtraError: timm is not installed.
    """
    return int(_find(name)[1].input_size[-1])


def _find(name: str) -> tuple[Any, Any]:
    """The package timm, and its settings for the network."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError("timm", "timm", name) from error
    timm_name = name.removeprefix(PREFIX)
    # Only registered names: timm would also download from hubs, or read folders, that a name points at.
    if not timm.is_model(timm_name):
        hint = did_you_mean(name, [PREFIX + known for known in timm.list_models()], most=3)
        raise UsageError(f"timm has no network named {timm_name!r};{hint} timm.list_models() lists all of them")
    try:
        config = timm.models.get_pretrained_cfg(timm_name)
    except RuntimeError as error:  # a tag that does not exist
        raise UsageError(f"timm has no network named {timm_name!r}: {error}") from error
    if config is None:
        config = timm.models.PretrainedCfg()
    return timm, config
