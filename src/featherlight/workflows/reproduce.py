"""The command that makes a run again."""

from __future__ import annotations

import contextlib
import itertools
import shlex
from dataclasses import replace
from typing import Any

import numpy as np

from featherlight.errors import UnreadableImageError
from featherlight.sources.base import Source, sample
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.recipe import DEFAULT_RECIPE, Recipe
from featherlight.workflows.extend import describe

SIZES_SAMPLED = 64


def facts_of(source: Source) -> DataFacts:
    """What the default recipe depends on."""
    split = source.splits["train"]
    sides = []
    for index in sample(split, SIZES_SAMPLED):
        with contextlib.suppress(UnreadableImageError):  # it is reported when all images are read
            sides.append(min(split.read(index).shape[:2]))
    return DataFacts(source.name, len(split), int(np.median(sides)) if sides else 224, source.flip_safe)


def reproduce_command(recipe: Recipe, source: Source) -> str:
    """The command that makes this run again; of a run that was extended, one for each part."""
    parts = [*(entry.partition(": ")[2] for entry in recipe.history), describe(recipe)]
    first = _first_command(replace(recipe, history=(), **_ends(parts[0])), source)
    if len(parts) == 1:
        return first
    further = [f"featherlight train --resume RUN {_options(*pair)}" for pair in itertools.pairwise(parts)]
    return " && ".join([f"{first} --out RUN", *further])


def _ends(text: str) -> dict[str, Any]:
    """What :func:`featherlight.workflows.extend.describe` said, as fields of a recipe."""
    said = dict(part.split(" ") for part in text.split(", "))
    return {
        "epochs": int(said.get("epochs", 0)),
        "time_s": float(said.get("time", "0s").removesuffix("s")),
        "target": float(said.get("target", 0)),
    }


def _options(before: str, text: str) -> str:
    dropped = " --target 0" if "target" in before and "target" not in text else ""
    return "--" + text.replace(", ", " --") + dropped


def _first_command(recipe: Recipe, source: Source) -> str:
    basic = {
        "recipe": recipe.recipe, "model": recipe.model, "epochs": recipe.epochs, "time_s": recipe.time_s,
        "seed": recipe.seed,
    }  # fmt: skip
    fixed = {name: value for name, value in basic.items() if value}
    wanted, changed = recipe.to_dict(), dict[str, Any]()
    # A field that is set moves the defaults of others, so those are compared again.
    while different := _differences(wanted, default_recipe(facts_of(source), {**fixed, **changed}).to_dict()):
        changed |= different
    length = f"--time {recipe.time_s:.3f}s" if recipe.time_s else f"--epochs {recipe.epochs}"
    settings = [
        f"--set {name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in changed.items()
    ]
    named = [] if recipe.recipe == DEFAULT_RECIPE else [f"--recipe {recipe.recipe}"]
    start = f"featherlight train {shlex.quote(recipe.data)}"
    return " ".join([start, *named, f"--model {recipe.model} {length} --seed {recipe.seed}", *settings])


def _differences(wanted: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    absent = {name: "none" for name in usual if name not in wanted}
    return absent | {name: value for name, value in wanted.items() if name != "data" and usual.get(name) != value}
