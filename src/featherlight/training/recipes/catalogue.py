"""Recipes by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from featherlight.errors import UsageError, did_you_mean
from featherlight.training.recipes import articles, cifar, imagenet, own
from featherlight.training.recipes.source import RecipeSource

_FUNCTIONS: tuple[Callable[..., RecipeSource], ...] = (
    own.default,
    articles.article_mindspore_shufflenet_v1,
    articles.article_ascend_mobilenet_v1,
    articles.article_ascend_mobilenet_v1_corrected,
    articles.article_keras_shufflenet_v2,
    articles.article_mobilenet_v3,
    cifar.kuangliu_cifar10,
    cifar.chenyaofo_cifar10,
    imagenet.torchvision_mobilenet_v2,
    imagenet.torchvision_mobilenet_v3,
    imagenet.torchvision_shufflenet_v2,
    imagenet.megvii_shufflenet_v1,
    imagenet.megvii_shufflenet_v2,
    imagenet.mindcv_shufflenet_v1,
    imagenet.mindcv_shufflenet_v2,
    imagenet.mindcv_mobilenet_v1,
    imagenet.mindcv_mobilenet_v2,
    imagenet.mindcv_mobilenet_v3,
)
_RECIPES = {function.__name__.replace("_", "-"): function for function in _FUNCTIONS}


def list_recipes() -> list[str]:
    """Names of all recipes; our default is the first."""
    return list(_RECIPES)


def find_recipe(name: str, model: str | None = None) -> RecipeSource:
    """A recipe by its name.

    Args:
        name: one of :func:`list_recipes`.
        model: the network to train, for recipes that differ from network to network; None: the recipe's own.

    Raises:
        UsageError: there is no such recipe.
    """
    if name not in _RECIPES:
        raise UsageError(f"unknown recipe {name!r};{did_you_mean(name, _RECIPES)} there are: {', '.join(_RECIPES)}")
    function = _RECIPES[name]
    if model is None or not inspect.signature(function).parameters:
        return function()
    return function(model)


def other_networks(name: str) -> list[tuple[list[str], dict[str, Any]]]:
    """The further networks that a recipe's source trains, and what the recipe sets otherwise for them.

    Returns:
        Networks and settings; networks with the same settings are together.
    """
    first, groups = find_recipe(name).settings, list[tuple[list[str], dict[str, Any]]]()
    for model in find_recipe(name).models[1:]:
        settings = find_recipe(name, model).settings
        changes = {key: value for key, value in settings.items() if key != "model" and first[key] != value}
        if groups and groups[-1][1] == changes:
            groups[-1][0].append(model)
        else:
            groups.append(([model], changes))
    return groups


def describe_recipe(name: str) -> str:
    """What a recipe is, in a line."""
    return (inspect.getdoc(_RECIPES[name]) or "").partition("\n")[0]
