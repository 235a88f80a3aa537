"""Which weights a training run starts from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from featherlight.console import note
from featherlight.errors import DownloadError, UsageError
from featherlight.model_file import SHIPPED, read_card
from featherlight.models.pretrained import fetch_pretrained, find_shipped
from featherlight.models.published import find_published
from featherlight.models.registry import create_model
from featherlight.training.initialisation import initialise, set_norm_momentum
from featherlight.training.recipe import Recipe


def settle_pretrained(recipe: Recipe) -> Recipe:
    """The recipe with ``auto`` replaced by what can be had, and the weights in the cache folder.

    Raises:
        UsageError: weights are asked for by name that do not exist for this network.
        DownloadError: such weights cannot be fetched; ``auto`` only says so.
    """
    if recipe.pretrained == "none":
        return recipe
    if recipe.pretrained in SHIPPED:
        card = read_card(find_shipped(recipe.model, recipe.pretrained))
        note(f"starting from the weights of {card.provenance.get('data')} that come with Featherlight")
        return recipe
    automatic = recipe.pretrained == "auto"
    try:
        weights = find_published(recipe.model, None if automatic else recipe.pretrained)
        fetch_pretrained(weights)
    except (UsageError, DownloadError) as error:
        if not automatic:
            raise
        note(f"starting from scratch: {error}")
        return replace(recipe, pretrained="none")
    note(f"starting from ImageNet weights: {weights.name}, {weights.top1:.1%} there, licence {weights.licence}")
    return replace(recipe, pretrained=weights.name)


def build_network(recipe: Recipe, num_classes: int, *, pretrained: bool) -> nn.Module:
    """The recipe's network, fresh from its seed, or but for the classifier with the weights it starts from."""
    torch.manual_seed(recipe.seed)
    network = create_model(
        recipe.model,
        num_classes,
        in_channels=recipe.in_channels,
        input_size=recipe.input_size,
        stem=recipe.stem,
        dropout=recipe.dropout,
        pretrained=recipe.pretrained if pretrained and recipe.pretrained != "none" else None,
    )
    if recipe.pretrained == "none":
        initialise(network, recipe.initialisation)
    set_norm_momentum(network, recipe.norm_momentum)
    return network
