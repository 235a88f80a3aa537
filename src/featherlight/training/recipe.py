"""A recipe: every choice of a training run, in one flat table that is shown, saved and changed by name."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

import tomli_w

from featherlight.errors import UsageError, did_you_mean
from featherlight.files import write_text
from featherlight.sources.cross_validation import read_fold
from featherlight.training.fields import read_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_MODEL = "shufflenet_v2_x0_5"
DEFAULT_RECIPE = "default"
RECIPE_FILE_NAME = "recipe.toml"

Initialisation = Literal[
    "network", "pytorch", "xavier-uniform", "kaiming-normal", "keras", "jaxony", "megvii", "mindcv-shufflenet",
    "mindcv-mobilenet-v1",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Every field of a training run; ``--set field=value`` changes any of them.

    Attributes:
        data: path or known name of the images.
        model: registered network name.
        recipe: name of the recipe whose settings came first; ``featherlight train --list-recipes`` lists them.
        input_size: side of the network's input, pixels.
        train_size: side of training images, where it is another one (Touvron et al. 2019); 0: as ``input_size``.
        in_channels: 3 for colour, 1 for grey.
        stem: ``cifar`` keeps small inputs large, ``imagenet`` is as published.
        dropout: before the classifier; absent: the network's own.
        pretrained: whose ImageNet weights the run starts from, for example ``torchvision``; ``none``: fresh weights;
            ``auto``, before a run begins: the best there are, if they can be had.
        quantize_aware: model file that is fine-tuned with the rounding of int8; absent: usual training.
        body_rate: with pretrained weights, the learning rate of all layers but the classifier, as a part of the
            classifier's.
        grow: part of the run in which images grow from five eighths of their side to the whole; 0: they never do.
        initialisation: fresh weights: the ``network``'s own, or as one of the frameworks and authors in
            :mod:`featherlight.training.initialisation` draws them.
        norm_momentum: weight of a batch in the running statistics of batch norm; absent: the network's own.
        mean: of each channel, subtracted from images on the scale 0 to 1; empty: ImageNet's.
        std: of each channel, by which images are divided; empty: ImageNet's.
        layer_decay: each layer's learning rate is that of the layer behind it times this, the classifier's is whole;
            1 is off, less takes the place of ``body_rate``.
        freeze_epochs: first epochs in which layers before the classifier stay as they are; 0 is off.
        unfreeze: after them, ``all`` layers learn, or with ``stages`` one stage more after each ``freeze_epochs``, from
            the back.
        resize: how an image of another shape becomes a square.
        crop_fraction: part of the shorter side that evaluation keeps.
        epochs: passes over the training images; 0 when ``time_s`` rules.
        time_s: seconds that training may take; 0 when ``epochs`` rules.
        target: accuracy on validation, a fraction, after which the run stops; 0 is off.
        patience: epochs without a better accuracy on validation after which the run stops; 0 is off.
        batch_size: images a step.
        accumulate: batches whose gradients make one update; normalisation still sees one batch at a time.
        sync_norms: where several processes share a batch, batch norm sees the whole batch, not the process's share.
        optimizer: SGD, AdamW or RMSprop.
        learning_rate: the schedule's highest.
        momentum: of SGD and RMSprop; AdamW's first beta.
        nesterov: SGD looks ahead along its momentum.
        rms_decay: of RMSprop's running mean of squares.
        bias_rate: biases of norms learn this many times as fast as other parameters.
        eps: what AdamW and RMSprop add to the root of it.
        weight_decay: pulls parameters towards zero.
        weight_decay_on: ``weights`` spares norms and biases, ``weights-and-biases`` norms only, ``all`` nothing.
        schedule: of the learning rate over the run; see :mod:`featherlight.training.schedule`.
        schedule_epochs: the schedule's length, where a run ends before it does; 0: that of the run.
        rate_per: the rate changes with each step or with each epoch.
        warmup: part of the schedule in which the rate rises.
        warmup_start: where the rise begins, as a part of the rate; ``one-cycle`` has ``div_factor``.
        div_factor: ``one-cycle`` begins at the rate divided by this.
        final_div_factor: ``one-cycle`` ends at its first rate divided by this.
        cycle_momentum: ``one-cycle`` moves the momentum against the rate.
        base_momentum: the lowest, where the rate is highest.
        max_momentum: the highest, where the rate is lowest.
        step_at: parts of the schedule at which ``step`` multiplies the rate by ``gamma``.
        step_epochs: ``step`` does so every so many epochs instead; 0: at ``step_at``.
        gamma: factor of ``step``, and, for each epoch, of ``exponential``.
        power: of ``polynomial``; 1 is a straight line to zero.
        loss: cross-entropy, or ``double-softmax``, which takes the softmax of the softmax, as some tutorials do.
        balance: of classes of different size: ``weights`` in the loss, ``sampler`` shows each equally often, or none.
        clip_norm: gradients longer than this are shortened; 0 is off.
        clip_value: each number of a gradient is cut to at most this, before ``clip_norm``; 0 is off.
        label_smoothing: share of the target that is spread over all classes.
        teacher: a larger model whose answers are learned too: run directory, model file, or a network with ImageNet
            weights; absent: none.
        distill_weight: the teacher's part of the loss; the labels have the rest.
        distill_temperature: by which both networks' logits are divided for the comparison.
        ema_decay: of the running mean of the weights, which becomes the model; 0 is off.
        ema_every: steps between two updates of it.
        ema_start: the decay grows with the first updates (``ramp``), or the mean copies the weights while the rate
            rises (``copy``, as torchvision does).
        reestimate_norms: after training, the running statistics of batch norm are measured anew in one more epoch.
        crop: how training images are cut: shifted (``pad``), a random region, or not at all.
        shift: with ``crop=pad``, by how much of its side an image is shifted at most.
        shift_fill: what comes in from outside of a shifted image: ``black``, or a mirror of the image (``reflect``).
        crop_area: smallest part of the image that a random region has.
        flip: mirror half of the training images.
        alternating_flip: with ``flip``, mirror each image in every second epoch, not by chance (Jordan 2024).
        trivial_augment: one random operation an image.
        auto_augment: two operations an image, by a policy found on these data (Cubuk et al. 2019).
        color_jitter: brightness, contrast and saturation change by up to this part; 0 is off.
        random_erasing: probability that a rectangle of the image is erased (Zhong et al. 2020).
        repeats: how often an image comes in its batch, each time augmented anew; an epoch shows the fewer
            (Hoffer et al. 2020).
        mixup: strength of mixing two images; 0 is off.
        cutmix: strength of pasting one image into another; 0 is off.
        keep: the model kept is the last epoch's or the best on validation.
        reject_rate: part of the validation images that the model may reject as none of its classes, which sets the
            threshold in its file; 0: it has none.
        seed: of everything random.
        device: where to compute.
        speed: ``auto`` measures which layout, precision, compiler and number of threads train fastest here, unless
            they are set; ``plain`` is PyTorch's default. What was chosen stands in the five fields below.
        layout: of images and weights in memory.
        precision: of convolutions; with ``bfloat16``, weights, statistics and the loss stay float32.
        compile: by torch.compile; its start takes a minute.
        kernels: by Featherlight's own operators, which a C compiler makes on first use.
        threads: cores that compute; 0: as many as PyTorch takes.
        workers: processes that read images when they do not fit in memory.
        checkpoint_every_s: seconds between checkpoints; at the end of an epoch sooner, where writing takes little of
            the time; 0: after each step.
        strict: an unreadable image is an error.
        group_by: images of one group stay on one side of our splits: a regular expression searched in paths, or the
            name of a manifest's column; absent: no groups.
        hold_out: part of the training images that is set aside as a test split, where whoever made the data gave none.
        fold: such as ``2/5``: this run is the second of five in a cross-validation, and validates on the second fifth.
        allow_leaks: train although images to measure with are also in train.
        lang: language of the report.
        history: what the length and target were, up to which step, before the run was extended.
    """

    data: str
    model: str = DEFAULT_MODEL
    recipe: str = DEFAULT_RECIPE
    input_size: int = 224
    train_size: int = 0
    grow: float = 0.0
    in_channels: int = 3
    stem: Literal["cifar", "imagenet"] = "imagenet"
    dropout: float | None = None
    pretrained: str = "none"
    quantize_aware: str | None = None
    body_rate: float = 0.1
    initialisation: Initialisation = "network"
    norm_momentum: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layer_decay: float = 1.0
    freeze_epochs: int = 0
    unfreeze: Literal["all", "stages"] = "all"
    resize: Literal["crop", "pad", "stretch"] = "crop"
    crop_fraction: float = 0.875
    epochs: int = 30
    time_s: float = 0.0
    target: float = 0.0
    patience: int = 0
    batch_size: int = 64
    accumulate: int = 1
    sync_norms: bool = False
    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    learning_rate: float = 0.07
    momentum: float = 0.9
    nesterov: bool = True
    rms_decay: float = 0.9
    bias_rate: float = 1.0
    eps: float = 1e-8
    weight_decay: float = 5e-4
    weight_decay_on: Literal["weights", "weights-and-biases", "all"] = "weights"
    schedule: Literal["one-cycle", "cosine", "step", "exponential", "polynomial", "constant"] = "one-cycle"
    schedule_epochs: int = 0
    rate_per: Literal["step", "epoch"] = "step"
    warmup: float = 0.2
    warmup_start: float = 0.0
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    cycle_momentum: bool = False
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    step_at: tuple[float, ...] = (0.5, 0.75)
    step_epochs: int = 0
    gamma: float = 0.1
    power: float = 1.0
    loss: Literal["cross-entropy", "double-softmax"] = "cross-entropy"
    balance: Literal["none", "weights", "sampler"] = "none"
    clip_norm: float = 0.0
    clip_value: float = 0.0
    label_smoothing: float = 0.1
    teacher: str | None = None
    distill_weight: float = 0.9
    distill_temperature: float = 4.0
    ema_decay: float = 0.99
    ema_every: int = 1
    ema_start: Literal["ramp", "copy"] = "ramp"
    reestimate_norms: bool = False
    crop: Literal["pad", "resized", "none"] = "resized"
    shift: float = 0.125
    shift_fill: Literal["black", "reflect"] = "black"
    crop_area: float = 0.35
    flip: bool = True
    alternating_flip: bool = False
    trivial_augment: bool = False
    auto_augment: Literal["none", "imagenet", "cifar10", "svhn"] = "none"
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    repeats: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    keep: Literal["last", "best"] = "last"
    reject_rate: float = 0.05
    seed: int = 0
    device: str = "auto"
    speed: Literal["auto", "plain"] = "auto"
    layout: Literal["auto", "channels-last", "channels-first"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    kernels: Literal["auto", "on", "off"] = "auto"
    threads: int = 0
    workers: int = 2
    checkpoint_every_s: float = 60.0
    strict: bool = False
    group_by: str | None = None
    hold_out: float = 0.0
    fold: str = ""
    allow_leaks: bool = False
    lang: Literal["en", "zh"] = "en"
    history: tuple[str, ...] = ()

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
        raise UsageError(f"unknown recipe field {name!r};{did_you_mean(name, _TYPES)} there are: {', '.join(_TYPES)}")
    return read_value(name, value, _TYPES[name])


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


def _find_problem(recipe: Recipe) -> str | None:
    ranges: dict[str, tuple[float, float]] = {
        "input_size": (16, 4096), "epochs": (0, 1_000_000), "time_s": (0, math.inf), "batch_size": (1, 65536),
        "learning_rate": (0, 1000), "momentum": (0, 0.9999), "weight_decay": (0, 10), "warmup": (0, 1),
        "label_smoothing": (0, 0.9999), "ema_decay": (0, 0.99999), "mixup": (0, 100), "cutmix": (0, 100),
        "workers": (0, 256), "checkpoint_every_s": (0, math.inf), "clip_norm": (0, math.inf), "seed": (0, 2**63 - 1),
        "body_rate": (0, 1), "bias_rate": (0, 1000), "norm_momentum": (0, 1), "rms_decay": (0, 0.99999), "eps": (0, 1),
        "grow": (0, 1), "threads": (0, 1024),
        "schedule_epochs": (0, 1_000_000), "warmup_start": (0, 1), "div_factor": (1, 1e9),
        "final_div_factor": (1, 1e12), "base_momentum": (0, 0.9999), "max_momentum": (0, 0.9999),
        "step_epochs": (0, 1_000_000), "gamma": (0, 1), "power": (0, 100), "ema_every": (1, 1_000_000),
        "shift": (0, 0.5), "crop_area": (0.01, 1), "color_jitter": (0, 1), "random_erasing": (0, 1), "repeats": (1, 64),
        "layer_decay": (0, 1), "freeze_epochs": (0, 1_000_000), "target": (0, 1),
        "patience": (0, 1_000_000), "accumulate": (1, 65536), "clip_value": (0, math.inf), "distill_weight": (0, 1),
        "distill_temperature": (0.01, 1000), "hold_out": (0, 0.9), "reject_rate": (0, 0.9999),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(recipe, name)
        if value is not None and not low <= value <= high:
            return f"{name} is {value}; {low:g} to {high:g} is expected"
    if recipe.data.encode(errors="ignore").decode() != recipe.data:
        return f"the path {recipe.data!a} is not valid UTF-8; rename the folder"
    if recipe.in_channels not in (1, 3):
        return f"in_channels is {recipe.in_channels}; 3 (colour) or 1 (grey) is expected"
    if (recipe.epochs > 0) == (recipe.time_s > 0):
        return "give a number of epochs or a time (time_s), one of the two"
    return _find_contradiction(recipe)


def _find_contradiction(recipe: Recipe) -> str | None:
    if recipe.train_size and not 16 <= recipe.train_size <= 4096:
        return f"train_size is {recipe.train_size}; 16 to 4096, or 0 for input_size, is expected"
    if recipe.schedule_epochs and recipe.schedule_epochs < recipe.epochs:
        return f"schedule_epochs is {recipe.schedule_epochs}, but the run has {recipe.epochs} epochs; give as many or 0"
    if recipe.schedule_epochs and recipe.time_s:
        return "schedule_epochs goes with epochs; under a time (time_s) the schedule ends with the run"
    if recipe.reestimate_norms and recipe.time_s:
        return "reestimate_norms takes an epoch more than the time (time_s) has; give a number of epochs"
    if recipe.cycle_momentum and (recipe.schedule != "one-cycle" or recipe.base_momentum > recipe.max_momentum):
        return "cycle_momentum goes with schedule=one-cycle and a base_momentum of at most max_momentum"
    if recipe.fold:
        read_fold(recipe.fold)
        if recipe.keep == "best" or recipe.patience or recipe.target:
            return "keep=best, patience and target would choose by the images that a fold is measured on"
    if any(values and len(values) != recipe.in_channels for values in (recipe.mean, recipe.std)):
        return f"mean and std need a number for each of {recipe.in_channels} channels, or none"
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
