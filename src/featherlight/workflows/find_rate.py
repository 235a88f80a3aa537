"""Images and a network -> the learning rate to train it with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from featherlight.console import bar
from featherlight.devices import select_device
from featherlight.errors import UsageError
from featherlight.report.rate_plot import write_rate_plot
from featherlight.sources import open_source
from featherlight.training.defaults import default_recipe
from featherlight.training.learner import Learner
from featherlight.training.rates import LEAST_STEPS, RateTest, try_rates
from featherlight.training.recipe import read_field
from featherlight.workflows.fit import preprocessing_of
from featherlight.workflows.reproduce import facts_of
from featherlight.workflows.starting_weights import build_network, settle_pretrained
from featherlight.workflows.teacher import open_teacher, settle_teacher
from featherlight.workflows.training_images import augmentation_of, load_training_images, weigh_classes

STEPS = 300  # with 100, light networks learn too little at any rate to tell them apart
RANGES = {"adamw": (1e-5, 0.3)}
USUAL_RANGE = (1e-3, 3.0)


def find_rate(
    data: str | Path = "digits",
    model: str | None = None,
    *,
    out: str | Path | None = None,
    steps: int = STEPS,
    low: float | None = None,
    high: float | None = None,
    **settings: Any,
) -> RateTest:
    """Tries learning rates from ``low`` to ``high`` on a network's first steps (Smith 2017); keeps none of its weights.

    Args:
        data: folder of images or a known name.
        model: network name.
        out: a PNG to draw; by default nothing is written.
        steps: updates, one a rate.
        low: first rate; by default 0.001, for AdamW 0.00001.
        high: last rate; by default 3, for AdamW 0.3.
        settings: any field of the recipe, as in training.

    Raises:
        UsageError: an unknown field, an unfit value, or no range.
        DataError: no usable images, or the loss runs away at once.
    """
    usual = RANGES.get(str(settings.get("optimizer")), USUAL_RANGE)
    low, high = usual[0] if low is None else low, usual[1] if high is None else high
    if steps < LEAST_STEPS or not 0 < low < high:
        raise UsageError(f"from {low:g} to {high:g} in {steps} steps is no range; give --low < --high and 10 --steps")
    if out is not None and Path(out).suffix.lower() != ".png":
        raise UsageError(f"{out}: the plot can be a .png file")
    settings = {name: value for name, value in settings.items() if value is not None}
    if model is not None:
        settings["model"] = model
    source = open_source(
        data, strict=read_field("strict", settings.get("strict", False)), group_by=settings.get("group_by")
    )
    recipe = settle_teacher(settle_pretrained(default_recipe(facts_of(source), settings)))
    recipe = replace(recipe, ema_decay=0.0)  # of a mean of weights nobody asks here
    device, preprocessing = select_device(recipe.device), preprocessing_of(recipe)
    network = build_network(recipe, len(source.classes), pretrained=True).to(device)
    if recipe.speed == "auto":
        network = network.to(memory_format=torch.channels_last)
    augmentation = augmentation_of(recipe, len(source.classes))
    teacher = open_teacher(recipe, source, device)
    batches = load_training_images(source.splits["train"], preprocessing, augmentation, recipe)
    learner = Learner(network, recipe, preprocessing, augmentation, weigh_classes(recipe, source), teacher)
    with bar("trying rates") as shown:
        found = try_rates(learner, batches, low, high, steps, lambda part: shown.update(part, ""))
    if out is not None:
        write_rate_plot(Path(out), found.rates, found.losses, found.smoothed, found.suggestion)
    return found
