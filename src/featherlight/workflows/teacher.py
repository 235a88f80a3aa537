"""The teacher that a recipe names: a model trained here, or a network with published weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featherlight.console import note
from featherlight.errors import DownloadError, MissingExtraError, UsageError
from featherlight.images import Preprocessing
from featherlight.models.registry import create_model, model_info
from featherlight.models.timm_networks import PREFIX
from featherlight.models.weights import load_model
from featherlight.sources.base import Source
from featherlight.training.recipe import Recipe
from featherlight.training.teacher import Teacher

Loaded = tuple[nn.Module, Sequence[str], Preprocessing]


def settle_teacher(recipe: Recipe) -> Recipe:
    """The recipe with the teacher's path in full, so that the run can be taken up from anywhere.

    Raises:
        UsageError: neither a model nor the name of a network with published weights.
    """
    if recipe.teacher is None:
        return recipe
    if not Path(recipe.teacher).expanduser().exists():
        _check_name(recipe.teacher)
        return recipe
    return replace(recipe, teacher=os.path.abspath(os.path.expanduser(recipe.teacher)))


def open_teacher(recipe: Recipe, source: Source, device: torch.device) -> Teacher | None:
    """Loads the recipe's teacher; None: it has none.

    Raises:
        UsageError: neither a model nor the name of a network with published weights.
        ModelFileError: a damaged model file.
        DataError: it knows other classes than the images show.
        DownloadError: its weights cannot be fetched.
    """
    if recipe.teacher is None:
        return None
    network, classes, preprocessing = _load(recipe.teacher)
    teacher = Teacher(network, classes, preprocessing, source.classes, device)
    note(
        f"teacher: {recipe.teacher}, {sum(p.numel() for p in network.parameters()):,} parameters, "
        f"sees images at {preprocessing.input_size} px"
    )
    return teacher


def _load(name: str) -> Loaded:
    if Path(name).exists():
        network = load_model(name)
        return network, network.classes, network.preprocessing  # type: ignore[return-value]
    if name.startswith(PREFIX):
        return _load_timm(name)
    _check_name(name)
    network = create_model(name, pretrained=True)
    return network, network.classes, network.preprocessing  # type: ignore[return-value]


def _check_name(name: str) -> None:
    try:
        if not name.startswith(PREFIX):  # what timm has, it says itself
            model_info(name)
    except UsageError as error:
        raise UsageError(
            f"teacher {name}: no run directory or model file, and no network with published weights"
        ) from error


def _load_timm(name: str) -> Loaded:
    try:
        import timm
        from timm.data import resolve_model_data_config
        from torchvision.models import ShuffleNet_V2_X0_5_Weights  # ImageNet's classes, the same for all
    except ModuleNotFoundError as error:
        raise MissingExtraError("timm", "timm", name) from error
    classes = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.meta["categories"]
    if os.environ.get("FEATHERLIGHT_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(f"teacher {name}: its weights are not here, and FEATHERLIGHT_OFFLINE forbids fetching them")
    create_model(name)  # a wrong name is a clear error
    try:
        network: nn.Module = timm.create_model(name.removeprefix(PREFIX), pretrained=True)
    except Exception as error:  # whatever timm and the hub raise when weights cannot be had
        raise DownloadError(f"teacher {name}: its weights cannot be fetched ({_first_line(error)})") from error
    config: dict[str, Any] = resolve_model_data_config(network)
    if network.num_classes != len(classes):
        raise UsageError(f"teacher {name}: has {network.num_classes} outputs; only ImageNet-1k's 1,000 are known")
    size, channels = config["input_size"][-1], config["input_size"][0]
    mean, std = tuple(config["mean"])[:channels], tuple(config["std"])[:channels]
    return network, classes, Preprocessing(size, crop_fraction=config["crop_pct"], mean=mean, std=std)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
