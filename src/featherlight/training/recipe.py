"""A recipe: every choice of a training run, in one flat table that is shown, saved and changed by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tomli_w

from featherlight.errors import UsageError
from featherlight.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_MODEL = "shufflenet_v2_x0_5"
RECIPE_FILE_NAME = "recipe.toml"


@dataclass(frozen=True)
class Recipe:
    """Every field of a training run; ``--set field=value`` changes any of them.

    Attributes:
        data: path or known name of the images.
        model: registered network name.
        input_size: side of the network's input, pixels.
        in_channels: 3 for colour, 1 for grey.
        stem: ``cifar`` keeps small inputs large, ``imagenet`` is as published.
        dropout: before the classifier; absent: the network's own.
        pretrained: whose ImageNet weights the run starts from, for example ``torchvision``; ``none``: fresh weights;
            ``auto``, before a run begins: the best there are, if they can be had.
        quantize_aware: model file that is fine-tuned with the rounding of int8; absent: usual training.
        body_rate: with pretrained weights, the learning rate of all layers but the classifier, as a part of the
            classifier's.
        resize: how an image of another shape becomes a square.
        crop_fraction: part of the shorter side that evaluation keeps.
        epochs: passes over the training images; 0 when ``time_s`` rules.
        time_s: seconds that training may take; 0 when ``epochs`` rules.
        batch_size: images a step.
        optimizer: SGD with Nesterov momentum, or AdamW.
        learning_rate: the schedule's highest.
        momentum: of SGD; AdamW's first beta.
        weight_decay: on weights; never on norms and biases.
        schedule: of the learning rate over the run.
        warmup: part of the run in which the rate rises.
        step_at: parts of the run at which ``step`` divides the rate by ten.
        balance: of classes of different size: ``weights`` in the loss, ``sampler`` shows each equally often, or none.
        clip_norm: gradients longer than this are shortened; 0 is off.
        label_smoothing: share of the target that is spread over all classes.
        ema_decay: of the running mean of the weights, which becomes the model; 0 is off.
        crop: how training images are cut: shifted by an eighth, a random region, or not at all.
        flip: mirror half of the training images.
        trivial_augment: one random operation an image.
        mixup: strength of mixing two images; 0 is off.
        cutmix: strength of pasting one image into another; 0 is off.
        keep: the model kept is the last epoch's or the best on validation.
        seed: of everything random.
        device: where to compute.
        speed: ``auto`` uses the memory layout in which convolutions run fastest, ``plain`` is PyTorch's default.
        workers: processes that read images when they do not fit in memory.
        checkpoint_every_s: seconds between checkpoints within an epoch; each epoch ends with one.
        strict: an unreadable image is an error.
        group_by: images of one group stay on one side of our splits: a regular expression searched in paths, or the
            name of a manifest's column; absent: no groups.
        allow_leaks: train although images to measure with are also in train.
    """

    data: str
    model: str = DEFAULT_MODEL
    input_size: int = 224
    in_channels: int = 3
    stem: Literal["cifar", "imagenet"] = "imagenet"
    dropout: float | None = None
    pretrained: str = "none"
    quantize_aware: str | None = None
    body_rate: float = 0.1
    resize: Literal["crop", "pad", "stretch"] = "crop"
    crop_fraction: float = 0.875
    epochs: int = 30
    time_s: float = 0.0
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.07
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["one-cycle", "cosine", "step"] = "one-cycle"
    warmup: float = 0.2
    step_at: tuple[float, ...] = (0.5, 0.75)
    balance: Literal["none", "weights", "sampler"] = "none"
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    crop: Literal["pad", "resized", "none"] = "resized"
    flip: bool = True
    trivial_augment: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    keep: Literal["last", "best"] = "last"
    seed: int = 0
    device: str = "auto"
    speed: Literal["auto", "plain"] = "auto"
    workers: int = 2
    checkpoint_every_s: float = 60.0
    strict: bool = False
    group_by: str | None = None
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        problem = _find_problem(self)
        if problem:
            raise UsageError(f"recipe: {problem}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values; fields that are absent (None) are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """A recipe with some fields changed; texts are read as the field's type.

        Raises:
            UsageError: an unknown field (the message lists those there are) or an unfit value.
        """
        return dataclasses.replace(self, **{name: read_field(name, value) for name, value in settings.items()})


_TYPES: dict[str, Any] = get_type_hints(Recipe)


def read_field(name: str, value: Any) -> Any:
    """Checks ``value`` for the field ``name``; a text is read as that field's type.

    Raises:
        UsageError: unknown field or unfit value; the message lists what there is.
    """
    if name not in _TYPES:
        near = difflib.get_close_matches(name, _TYPES, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"unknown recipe field {name!r}; {meant}there are: {', '.join(_TYPES)}")
    kind = _TYPES[name]
    if get_origin(kind) in (Union, UnionType):
        if value is None or value == "none":
            return None
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"recipe field {name} is {value!r}; it can be: {', '.join(get_args(kind))}")
        return value
    try:
        return _read_as(kind, value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"recipe field {name} is {value!r}; {_describe(kind)} is expected") from error


def read_duration(text: str) -> float:
    """``90s``, ``15m``, ``2h`` -> seconds.

    Raises:
        UsageError: something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"{text!r} is no duration; write 90s, 15m or 2h")
    return seconds


def _read_as(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        return tuple(float(part) for part in parts)
    if kind is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise ValueError(value)
        return words[str(value).lower()]
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    if kind is not str and isinstance(value, bool):
        raise TypeError(value)
    return kind(value)


def _describe(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, "numbers with commas between them")


def _find_problem(recipe: Recipe) -> str | None:
    ranges: dict[str, tuple[float, float]] = {
        "input_size": (16, 4096), "epochs": (0, 1_000_000), "time_s": (0, math.inf), "batch_size": (1, 65536),
        "learning_rate": (0, 1000), "momentum": (0, 0.9999), "weight_decay": (0, 10), "warmup": (0, 1),
        "label_smoothing": (0, 0.9999), "ema_decay": (0, 0.99999), "mixup": (0, 100), "cutmix": (0, 100),
        "workers": (0, 256), "checkpoint_every_s": (0, math.inf), "clip_norm": (0, math.inf), "seed": (0, 2**63 - 1),
        "body_rate": (0, 1),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(recipe, name)
        if not low <= value <= high:
            return f"{name} is {value}; {low:g} to {high:g} is expected"
    if recipe.data.encode(errors="ignore").decode() != recipe.data:
        return f"the path {recipe.data!a} is not valid UTF-8; rename the folder"
    if recipe.in_channels not in (1, 3):
        return f"in_channels is {recipe.in_channels}; 3 (colour) or 1 (grey) is expected"
    if (recipe.epochs > 0) == (recipe.time_s > 0):
        return "give a number of epochs or a time (time_s), one of the two"
    return None


def write_recipe(run: Path, recipe: Recipe) -> None:
    """Saves the recipe with its run."""
    write_text(run / RECIPE_FILE_NAME, tomli_w.dumps(recipe.to_dict()))


def read_recipe(run: Path) -> Recipe:
    """Reads the recipe of a run.

    Raises:
        UsageError: ``run`` is no run directory, or its recipe has an unknown or unfit field.
    """
    path = run / RECIPE_FILE_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{run}: no run directory (there is no {RECIPE_FILE_NAME} in it)") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    if "data" not in values:
        raise UsageError(f"{path}: names no data")
    return Recipe(**{name: read_field(name, value) for name, value in values.items()})
