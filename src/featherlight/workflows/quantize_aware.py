"""A trained model -> the same network, fine-tuned so that it keeps its accuracy in int8."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from featherlight.console import note
from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.loading.batches import TrainBatches
from featherlight.model_file import ModelCard, find_model_file, read_card
from featherlight.models.engine import normalized
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model
from featherlight.training.equalisation import equalize
from featherlight.training.fake_quant_graph import fake_quantized, float_state, learnt_ranges, watching
from featherlight.training.recipe import Recipe, read_duration

if TYPE_CHECKING:
    from featherlight.workflows.train import Run

PART_OF_EPOCHS = 0.1  # of the training that made the model
PART_OF_RATE = 0.05
CALIBRATION_BATCHES = 8
# Fields of the model's own recipe that the fine-tuning takes over: the images, and how they are shown.
_KEPT = (
    "input_size", "in_channels", "stem", "dropout", "resize", "crop_fraction", "batch_size", "balance",
    "label_smoothing", "crop", "flip", "alternating_flip", "seed", "workers", "group_by", "allow_leaks", "lang",
)  # fmt: skip


def train_quantize_aware(
    model: str | Path,
    data: str | Path | None = None,
    *,
    time: str | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Fine-tunes a trained model with the rounding of int8 in every step.

    The result is a usual run directory. Its weights are float; the ranges that were learnt for activations stand in
    the model file, and ``export --int8`` uses them.

    Args:
        model: run directory or model file.
        data: images; by default those the model was trained on.
        time: fine-tune for this long.
        out: the run directory; by default a new one under ``runs/``.
        settings: any field of the recipe. By default a tenth of the model's own epochs (at least 2) at a twentieth of
            its learning rate.

    Raises:
        UsageError: the model does not say what it was trained on, or a field does not fit.
        ModelFileError: no usable model.
        DataError: the images have other classes.
    """
    from featherlight.workflows.train import train

    path = find_model_file(model)
    card = read_card(path)
    known = card.provenance.get("recipe")
    own = known if isinstance(known, Mapping) else {}
    images = data if data is not None else card.provenance.get("data")
    if not isinstance(images, str | Path):
        raise UsageError(f"{model} does not say what it was trained on; name the images: --quantize-aware MODEL DATA")
    chosen = {**_settings(card, own), **{name: value for name, value in settings.items() if value is not None}}
    if time is not None:
        chosen |= {"epochs": 0, "time_s": read_duration(time)}
    return train(images, card.model, out=out, quantize_aware=os.path.abspath(path), **chosen)


def start_quantize_aware(recipe: Recipe, classes: tuple[str, ...], preprocessing: Preprocessing) -> fx.GraphModule:
    """The recipe's model, with its weights, ready to be fine-tuned.

    Raises:
        UsageError: it was made for other classes or another preprocessing.
    """
    model = load_model(str(recipe.quantize_aware))
    card: ModelCard = model.card  # type: ignore[assignment]
    if card.classes != classes:
        raise UsageError(
            f"{recipe.quantize_aware} knows {len(card.classes)} classes, and these images have {len(classes)} classes "
            "or others; fine-tuning for int8 needs the model's own"
        )
    if card.preprocessing != preprocessing:
        raise UsageError(
            f"{recipe.quantize_aware} sees images otherwise than this recipe: "
            f"{card.preprocessing} against {preprocessing}"
        )
    equalize(model)
    return fake_quantized(model)


@torch.no_grad()
def settle_ranges(network: fx.GraphModule, batches: TrainBatches, preprocessing: Preprocessing) -> None:
    """Looks at some training images and gives every activation a first range."""
    device = next(network.parameters()).device
    note(f"looking at activations in {CALIBRATION_BATCHES} batches of training images")
    training = network.training
    with watching(network.eval()):
        for batch in islice(batches.epoch(0), CALIBRATION_BATCHES):
            network(normalized(batch.images.to(device), preprocessing))
    network.train(training)


def float_network(recipe: Recipe, network: fx.GraphModule) -> nn.Module:
    """The fine-tuned weights in the network that they belong to."""
    card = read_card(find_model_file(str(recipe.quantize_aware)))
    model = create_model(card.model, **card.arguments)
    model.load_state_dict({**model.state_dict(), **float_state(network)})
    return model.eval()


def quantization_facts(network: fx.GraphModule) -> dict[str, Any]:
    """What the model file says of the fine-tuning: ranges around each layer, in the order in which they run."""
    return {"layers": [row.to_dict() for row in learnt_ranges(network)]}


def _settings(card: ModelCard, own: Mapping[str, Any]) -> dict[str, Any]:
    preprocessing, arguments = card.preprocessing, card.arguments
    epochs, rate = own.get("epochs"), own.get("learning_rate")
    settings = {name: own[name] for name in _KEPT if name in own}
    settings |= {
        "input_size": preprocessing.input_size,
        "in_channels": preprocessing.in_channels,
        "resize": preprocessing.resize,
        "crop_fraction": preprocessing.crop_fraction,
        "stem": arguments.get("stem"),
        "dropout": arguments.get("dropout"),
        "pretrained": "none",
        "schedule": "cosine",
        "warmup": 0.05,
        "epochs": max(2, round(PART_OF_EPOCHS * epochs)) if isinstance(epochs, int) and epochs > 0 else 2,
        "learning_rate": PART_OF_RATE * (rate if isinstance(rate, float) and own.get("optimizer") == "sgd" else 0.07),
        "weight_decay": 1e-5,
        "speed": "plain",
    }
    return {name: value for name, value in settings.items() if value is not None}
