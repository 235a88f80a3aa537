"""The recipe for someone who says nothing but where the images are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featherlight.models.catalogue import model_info
from featherlight.training.recipe import DEFAULT_MODEL, DEFAULT_RECIPE, Recipe, read_field
from featherlight.training.recipes.catalogue import find_recipe

CIFAR_STEM_UP_TO = 64  # pixels; above, the published stem's early shrinking pays
TRANSFER_FROM = 96  # pixels; what networks learnt on 224 px ImageNet carries over to images of this size and more

BOLD_FROM = 10_000  # training images of small size, from which on rates are higher
BIAS_RATE = 8.0  # for norms' biases, there: with alternating flips 1.7 points more on CIFAR-10 (docs/results.md)
GROW_FROM = 32  # pixels; five eighths of less are hardly an image
GROW = 0.7  # of the run on smaller images: four points more on CIFAR-10 in the same time (docs/results.md)
SHIFT = 1 / 16  # with reflection, not an eighth with black: four points more on CIFAR-10 in short runs
IMAGES_TO_SEE = 40_000
STEPS_WANTED = 40
KNOWN_EPOCHS = {"digits": 8}  # 99 % in about a minute; more brings nothing


@dataclass(frozen=True)
class DataFacts:
    """What the defaults depend on.

    Attributes:
        name: path or known name.
        num_train: training images.
        typical_side: median of the images' shorter sides, pixels.
        flip_safe: whether a mirrored image keeps its meaning.
    """

    name: str
    num_train: int
    typical_side: int
    flip_safe: bool


def default_recipe(facts: DataFacts, settings: Mapping[str, Any]) -> Recipe:
    """The default recipe for this data, with ``settings`` in place of defaults.

    Those of a recipe that ``settings`` name come first, and ``settings`` change them.
    Where a default depends on another field (stem on input size, rate on optimiser), it follows the setting.

    Raises:
        UsageError: an unknown field, recipe or an unfit value.
    """
    given = _with_named_recipe({name: read_field(name, value) for name, value in settings.items()})
    size = given.get("input_size", default_input_size(facts.typical_side))
    small = size <= CIFAR_STEM_UP_TO
    batch_size = max(1, given.get("batch_size", _default_batch(facts.num_train)))  # the recipe refuses less
    images_an_update = batch_size * max(1, given.get("accumulate", 1))
    adamw = given.get("optimizer", "sgd") == "adamw"
    bold = small and facts.num_train >= BOLD_FROM
    epochs = given.get("epochs", 0 if given.get("time_s") else _default_epochs(facts))
    model = given.get("model", DEFAULT_MODEL)
    info = model_info(model)
    chosen = {
        "data": facts.name,
        "model": model,
        "dropout": info.dropout,
        "input_size": size,
        "stem": info.stem or ("cifar" if small else "imagenet"),
        "pretrained": "auto" if size >= TRANSFER_FROM else "none",
        "crop_fraction": 1.0 if small else 0.875,
        "batch_size": batch_size,
        "learning_rate": 2e-3 if adamw else _default_rate(images_an_update, bold=bold),
        "bias_rate": BIAS_RATE if bold and not adamw and _is_ours(given) else 1.0,
        "weight_decay": 0.05 if adamw else 5e-4,
        "grow": GROW if small and size >= GROW_FROM and _is_ours(given) else 0.0,
        "epochs": epochs,
        "ema_decay": _default_average(epochs * facts.num_train / images_an_update),
        "keep": "best" if given.get("patience") else "last",
        "crop": "pad" if small else "resized",
        **({"shift": SHIFT, "shift_fill": "reflect"} if _is_ours(given) else {}),
        "flip": facts.flip_safe,
        "alternating_flip": given.get("flip", facts.flip_safe) and _is_ours(given),
        **given,
    }
    return Recipe(**chosen)


def _with_named_recipe(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the recipe that is named among ``given``, changed by the others."""
    settings = find_recipe(given.get("recipe", DEFAULT_RECIPE), given.get("model")).settings
    if given.get("time_s"):  # a schedule of so many epochs becomes one over that time
        bound = ("epochs", "schedule_epochs", "reestimate_norms")
        settings = {name: value for name, value in settings.items() if name not in bound}
    elif given.get("epochs", 0) > settings.get("schedule_epochs", math.inf):
        settings.pop("schedule_epochs")
    return {**settings, **given}


def default_input_size(typical_side: int) -> int:
    """Images up to 64 px keep their size (in steps of 8, at least 32); larger ones come to 96, 128, 160 or 224."""
    if typical_side <= CIFAR_STEM_UP_TO:
        return max(32, math.ceil(typical_side / 8) * 8)
    return next((size for size in (96, 128, 160) if typical_side <= size * 1.15), 224)


def _default_batch(num_train: int) -> int:
    """64, or less where that leaves fewer than 40 steps an epoch: short runs need steps more than big batches."""
    return next((size for size in (64, 32) if size * STEPS_WANTED <= num_train), 16)


def _is_ours(given: Mapping[str, Any]) -> bool:
    """Whether nobody else's recipe is followed, and no trained network is only adjusted."""
    return given.get("recipe", DEFAULT_RECIPE) == DEFAULT_RECIPE and not given.get("quantize_aware")


def _default_rate(batch_size: int, *, bold: bool) -> float:
    """At 64 images; the square root of the batch size keeps the noise of a step comparable.

    Twice as high for many small images, where it was measured. In short runs on few images it is too much, and larger
    ones usually start from weights that it would spoil.
    """
    return round((0.14 if bold else 0.07) * math.sqrt(batch_size / 64), 4)


def _default_epochs(facts: DataFacts) -> int:
    """As many as show the network about 40,000 images: between 10 (large data) and 100 (small data)."""
    if facts.name in KNOWN_EPOCHS:
        return KNOWN_EPOCHS[facts.name]
    return min(100, max(10, round(IMAGES_TO_SEE / max(1, facts.num_train))))


def _default_average(steps: float) -> float:
    """0.99, less for short runs: the mean reaches over the last tenth of the run at most. 0 steps: time rules."""
    return 0.99 if steps <= 0 else round(min(0.99, max(0.5, 1 - 10 / steps)), 4)
