"""Weights of another implementation -> one model file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.models.catalogue import model_info
from featherlight.models.foreign import model_from_weights
from featherlight.models.weights import save_model
from featherlight.workflows.class_names import read_class_names

# How images reach a network: what its authors trained it with. The size is set to the network's.
PREPROCESSINGS = {
    "imagenet": Preprocessing(224),
    "inception": Preprocessing(224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "cifar": Preprocessing(32, crop_fraction=1.0, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    "bgr255": Preprocessing(224, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255)),
}
_OF_LAYOUT = {"timm": "inception", "kuangliu": "cifar", "ascend": "cifar"}


@dataclass(frozen=True)
class Conversion:
    """What was made.

    Attributes:
        path: the model file.
        model: name of the network.
        layout: of the weights, recognised or given.
        num_classes: outputs, read off the classifier.
        params: parameters of the network.
        preprocessing: name of how images will reach it.
    """

    path: Path
    model: str
    layout: str
    num_classes: int
    params: int
    preprocessing: str


def convert(
    weights: str | Path,
    model: str,
    out: str | Path,
    *,
    layout: str | None = None,
    class_names: str | Path | None = None,
    input_size: int | None = None,
    preprocessing: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Conversion:
    """Makes a model file of weights that another implementation wrote.

    Args:
        weights: their file.
        model: the network, with a tag for a published variant: ``shufflenet_v1_g3_x1_0.jaxony``.
        out: the model file to write.
        layout: whose names the file has; None reads it off the names.
        class_names: file with the names of the classes, see :func:`read_class_names`. None: ImageNet's for 1000
            classes, else numbers.
        input_size: side of the images in pixels. None: 32 for networks published for such, else 224.
        preprocessing: a name in ``PREPROCESSINGS``; None: what the authors of the layout trained with. "bgr255" also
            turns the first convolution, so that it takes RGB and gives what it gave for BGR.
        note: called with remarks for people.

    Raises:
        ModelFileError: the weights cannot be read or do not fit.
        UsageError: an unknown network, layout or preprocessing, or class names that do not fit.
    """
    if preprocessing is not None and preprocessing not in PREPROCESSINGS:
        raise UsageError(f"there is no preprocessing {preprocessing!r}; choose one of {', '.join(PREPROCESSINGS)}")
    network, found = model_from_weights(weights, model, layout, input_size)
    chosen = preprocessing or _OF_LAYOUT.get(found, "imagenet")
    if found == "megvii" and preprocessing is None:
        note("Megvii trained on BGR pixels from 0 to 255: for its own weights add --preprocessing bgr255")
    if chosen == "bgr255":
        _swap_red_and_blue(network)
    arguments: dict[str, Any] = network.featherlight_arguments  # type: ignore[assignment]
    provenance = {"converted": {"file": Path(weights).name, "sha256": _digest(Path(weights)), "layout": found}}
    path = save_model(
        network,
        out,
        _name_classes(class_names, arguments["num_classes"], note),
        _fit_preprocessing(PREPROCESSINGS[chosen], arguments),
        provenance=provenance | {"source": model_info(model).source},
    )
    params = sum(parameter.numel() for parameter in network.parameters())
    return Conversion(path, model, found, arguments["num_classes"], params, chosen)


def _name_classes(path: str | Path | None, count: int, note: Callable[[str], None]) -> tuple[str, ...]:
    if path is not None:
        return read_class_names(path, count)
    if count != 1000:
        note(f"the {count:,} classes are called by their numbers; --class-names FILE gives them names")
        return tuple(str(number) for number in range(count))
    from torchvision.models import ShuffleNet_V2_X0_5_Weights

    note("1,000 classes: taken for ImageNet's; --class-names FILE gives them other names")
    return tuple(ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.meta["categories"])


def _fit_preprocessing(preprocessing: Preprocessing, arguments: dict[str, Any]) -> Preprocessing:
    """For the network's size, where small images are not cropped; one mean of all for grey networks."""
    crop = 1.0 if arguments["stem"] == "cifar" else preprocessing.crop_fraction
    preprocessing = replace(preprocessing, input_size=arguments["input_size"], crop_fraction=crop)
    if arguments["in_channels"] == 3:
        return preprocessing
    if arguments["in_channels"] != 1:
        raise UsageError(
            f"its first convolution takes {arguments['in_channels']} channels; images have 3, or 1 of grey"
        )
    mean, std = (sum(values) / len(values) for values in (preprocessing.mean, preprocessing.std))
    return replace(preprocessing, mean=(mean,), std=(std,))


def _swap_red_and_blue(network: nn.Module) -> None:
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()
