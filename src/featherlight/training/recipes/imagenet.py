"""ImageNet recipes of torchvision, Megvii and mindcv. None has been run here: each takes days of several accelerators.

Those that differ from network to network take the network's name. Another network than the source's gets the settings
of the one named first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from featherlight.training.recipe import Initialisation
from featherlight.training.recipes.source import NOT_DONE, NOT_STATED, RecipeSource

Settings = TypeVar("Settings")

_DATA = "IMAGENET_FOLDER"
_STORED_CROP = "random regions are cut out of the image's central square, stored with 8/7 of the input's side"
_DEVICES = "batch norm sees the whole batch, there each device's share of it"

_USUAL: Mapping[str, Any] = {
    **NOT_DONE,
    "input_size": 224,
    "stem": "imagenet",
    "resize": "crop",
    "crop_fraction": 0.875,
    "crop": "resized",
    "crop_area": 0.08,
    "flip": True,
}


def torchvision_mobilenet_v2() -> RecipeSource:
    """MobileNetV2 as torchvision's first weights: 300 epochs, the rate times 0.98 after each.

    ``featherlight train IMAGENET_FOLDER --recipe torchvision-mobilenet-v2``. Accuracy: 71.878 % with torchvision; time
    not stated, on 8 V100; not run here.
    """
    return RecipeSource(
        source="pytorch/vision, references/classification/README.md",
        data=_DATA,
        accuracy="71.878 %",
        time="not stated; 8 V100",
        stated={
            "model": "mobilenet_v2_x1_0",
            "epochs": 300,
            "batch_size": 8 * 32,
            "learning_rate": 0.045,
            "momentum": 0.9,
            "weight_decay": 4e-5,
            "schedule": "exponential",
            "gamma": 0.98,
            "rate_per": "epoch",
        },
        implied={**_USUAL, "optimizer": "sgd", "initialisation": "network"},
        notes=(_DEVICES, _STORED_CROP),
    )


def torchvision_mobilenet_v3(model: str = "mobilenet_v3_large") -> RecipeSource:
    """MobileNetV3 as torchvision's first weights: RMSprop, 600 epochs, AutoAugment, random erasing.

    ``featherlight train IMAGENET_FOLDER --recipe torchvision-mobilenet-v3 [--model mobilenet_v3_small]``. Accuracy with
    torchvision: large 74.042 %, small 67.668 %, after averaging the last three checkpoints that were better than those
    before, which is not done here. Time not stated, on 8 V100; not run here.
    """
    return RecipeSource(
        source="pytorch/vision, references/classification/README.md",
        data=_DATA,
        accuracy="large 74.042 %, small 67.668 %",
        time="not stated; 8 V100",
        stated={
            "model": model,
            "epochs": 600,
            "batch_size": 8 * 128,
            "optimizer": "rmsprop",
            "learning_rate": 0.064,
            "momentum": 0.9,
            "weight_decay": 1e-5,
            "schedule": "step",
            "step_epochs": 2,
            "gamma": 0.973,
            "rate_per": "epoch",
            "auto_augment": "imagenet",
            "random_erasing": 0.2,
        },
        implied={**_USUAL, "rms_decay": 0.9, "eps": 0.0316, "initialisation": "network"},
        notes=(_DEVICES, _STORED_CROP, "the last checkpoints that improved are not averaged"),
        models=("mobilenet_v3_large", "mobilenet_v3_small"),
    )


def torchvision_shufflenet_v2(model: str = "shufflenet_v2_x1_5") -> RecipeSource:
    """ShuffleNetV2 1.5x and 2x as torchvision's weights: 600 epochs at 176 px with everything.

    ``featherlight train IMAGENET_FOLDER --recipe torchvision-shufflenet-v2 [--model shufflenet_v2_x2_0]``. Accuracy
    with torchvision: 1.5x 72.996 %, 2x 76.230 %, of the best epoch's weights, not of their mean: ``--set ema_decay=0
    --keep best``. Time not stated, on 8 GPUs; not run here. torchvision's 0.5x and 1x are by others, whose recipe is
    not published.
    """
    epochs, batch, every = 600, 8 * 128, 32
    return RecipeSource(
        source="pytorch/vision, references/classification/README.md",
        data=_DATA,
        accuracy="1.5x 72.996 %, 2x 76.230 %",
        time="not stated; 8 GPUs",
        stated={
            "model": model,
            "train_size": 176,
            "crop_fraction": 224 / 232,
            "epochs": epochs,
            "batch_size": batch,
            "learning_rate": 0.5,
            "weight_decay": 2e-5,
            "weight_decay_on": "weights-and-biases",
            "schedule": "cosine",
            "warmup": 5 / epochs,
            "trivial_augment": True,
            "random_erasing": 0.1,
            "label_smoothing": 0.1,
            "mixup": 0.2,
            "cutmix": 1.0,
            "repeats": 4,
        },
        implied={
            **_USUAL,
            "optimizer": "sgd",
            "momentum": 0.9,
            "rate_per": "epoch",
            "warmup_start": 0.01,
            "ema_decay": 1 - (1 - 0.99998) * batch * every / epochs,
            "ema_every": every,
            "ema_start": "copy",
            "initialisation": "pytorch",
        },
        notes=(_DEVICES, _STORED_CROP, "the published weights are the best epoch's, not their mean"),
        models=("shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    )


def _megvii(model: str, models: tuple[str, ...], accuracy: str, time: str) -> RecipeSource:
    return RecipeSource(
        source="megvii-model/ShuffleNet-Series, train.py",
        data=_DATA,
        accuracy=accuracy,
        time=time,
        stated={
            "model": model,
            "batch_size": 1024,
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "momentum": 0.9,
            "weight_decay": 4e-5,
            "weight_decay_on": "weights",
            "schedule": "polynomial",
            "power": 1.0,
            "label_smoothing": 0.1,
            "color_jitter": 0.4,
            "mean": (0.0, 0.0, 0.0),
            "std": (1 / 255, 1 / 255, 1 / 255),
            "initialisation": "megvii",
            "reestimate_norms": True,
        },
        implied={**_USUAL, "epochs": 240, "norm_momentum": 0.1},
        notes=(
            _STORED_CROP,
            "300,000 steps there are 239.8 epochs",
            "channels in the order red, green, blue, there the other way round",
        ),
        models=models,
    )


def megvii_shufflenet_v1(model: str = "shufflenet_v1_g3_x2_0.megvii") -> RecipeSource:
    """ShuffleNetV1 by its authors' code: 240 epochs, a straight line from 0.5 to zero, colour jitter.

    ``featherlight train IMAGENET_FOLDER --recipe megvii-shufflenet-v1 [--model shufflenet_v1_g8_x0_5.megvii]``.
    Accuracy there, with 3 and with 8 groups: 0.5x 57.3 and 58.8 %, 1x 67.8 and 68.0 %, 1.5x 71.6 and 71.0 %, 2x 74.1
    and 72.9 %. Time, by the paper, for as many steps: one to two days on 4 GPUs. Not run here.
    """
    models = tuple(
        f"shufflenet_v1_{groups}_{width}.megvii"
        for groups in ("g3", "g8")
        for width in ("x2_0", "x1_5", "x1_0", "x0_5")
    )
    accuracy = (
        "3 groups: 0.5x 57.3 %, 1x 67.8 %, 1.5x 71.6 %, 2x 74.1 %; 8 groups: 0.5x 58.8 %, 1x 68.0 %, 1.5x 71.0 %, "
        "2x 72.9 %"
    )
    return _megvii(model, models, accuracy, "1 to 2 days on 4 GPUs, says the paper")


def megvii_shufflenet_v2(model: str = "shufflenet_v2_x1_5.megvii") -> RecipeSource:
    """ShuffleNetV2 by its authors' code; the recipe is that of their ShuffleNetV1.

    ``featherlight train IMAGENET_FOLDER --recipe megvii-shufflenet-v2 [--model shufflenet_v2_x0_5.megvii]``. Accuracy
    there: 0.5x 61.1 %, 1x 69.4 %, 1.5x 72.6 %, 2x 75.0 %. Time not stated; not run here.
    """
    models = tuple(f"shufflenet_v2_{width}.megvii" for width in ("x1_5", "x2_0", "x1_0", "x0_5"))
    return _megvii(model, models, "0.5x 61.1 %, 1x 69.4 %, 1.5x 72.6 %, 2x 75.0 %", NOT_STATED)


def _mindcv(
    model: str,
    epochs: int,
    warmup_epochs: int,
    rate: float,
    stated: Mapping[str, Any],
    draw: Initialisation,
    models: Iterable[str],
    reached: tuple[str, str],
) -> RecipeSource:
    accuracy, speed = reached
    return RecipeSource(
        source="mindspore-lab/mindcv, configs",
        data=_DATA,
        accuracy=accuracy,
        time=f"not stated; {speed} on 8 Ascend cards",
        stated={
            "model": model,
            "epochs": epochs,
            "batch_size": 8 * 64,
            "optimizer": "sgd",
            "learning_rate": rate,
            "momentum": 0.9,
            "schedule": "cosine",
            "warmup": warmup_epochs / epochs,
            "label_smoothing": 0.1,
            "crop_fraction": 0.875,
            "flip": True,
            **stated,
        },
        implied={**_USUAL, "norm_momentum": 0.1, "initialisation": draw},
        notes=(_DEVICES, _STORED_CROP, "float32 here, partly float16 there but for ShuffleNetV1"),
        models=tuple(models),
    )


def mindcv_shufflenet_v1(model: str = "shufflenet_v1_g3_x1_0.mindcv") -> RecipeSource:
    """ShuffleNetV1 as mindcv's weights: 250 epochs, cosine after four epochs of warm-up.

    ``featherlight train IMAGENET_FOLDER --recipe mindcv-shufflenet-v1 [--model shufflenet_v1_g3_x0_5.mindcv]``.
    Accuracy there: 0.5x 57.05 %, 1x 67.77 %. Time not stated, on 8 Ascend cards; not run here.
    """
    rates = {"shufflenet_v1_g3_x1_0.mindcv": 0.4, "shufflenet_v1_g3_x0_5.mindcv": 0.35}
    stated = {"weight_decay": 4e-5, "weight_decay_on": "weights", "color_jitter": 0.4}
    reached = ("0.5x 57.05 %, 1x 67.77 %", "11,263 images/s (0.5x)")
    return _mindcv(model, 250, 4, _of_model(rates, model), stated, "mindcv-shufflenet", rates, reached)


def mindcv_shufflenet_v2(model: str = "shufflenet_v2_x1_0") -> RecipeSource:
    """ShuffleNetV2 as mindcv's weights: 250 or 300 epochs, cosine, from 1x on random erasing.

    ``featherlight train IMAGENET_FOLDER --recipe mindcv-shufflenet-v2 [--model shufflenet_v2_x0_5]``. Accuracy there:
    0.5x 60.53 %, 1x 69.47 %, 1.5x 72.79 %, 2x 75.07 %. Time not stated, on 8 Ascend cards; not run here.
    """
    table = {
        "shufflenet_v2_x1_0": (300, 5, 0.4, 0.5),
        "shufflenet_v2_x0_5": (250, 4, 0.35, 0.0),
        "shufflenet_v2_x1_5": (300, 5, 0.5, 0.5),
        "shufflenet_v2_x2_0": (300, 5, 0.5, 0.25),
    }
    epochs, warmup_epochs, rate, erasing = _of_model(table, model)
    stated = {"weight_decay": 4e-5, "weight_decay_on": "weights", "color_jitter": 0.4, "random_erasing": erasing}
    reached = ("0.5x 60.53 %, 1x 69.47 %, 1.5x 72.79 %, 2x 75.07 %", "10,633 images/s (0.5x)")
    return _mindcv(model, epochs, warmup_epochs, rate, stated, "mindcv-shufflenet", table, reached)


def mindcv_mobilenet_v1(model: str = "mobilenet_v1_x1_0.mindcv") -> RecipeSource:
    """MobileNetV1 as mindcv's weights: 200 epochs, cosine after two epochs of warm-up, nothing more.

    ``featherlight train IMAGENET_FOLDER --recipe mindcv-mobilenet-v1 [--model mobilenet_v1_x0_25.mindcv]``. Accuracy
    there: 0.25x 53.87 %, 0.5x 65.94 %, 0.75x 70.44 %, 1x 72.95 %. Time not stated, on 8 Ascend cards; not run here.
    """
    models = tuple(f"mobilenet_v1_{width}.mindcv" for width in ("x1_0", "x0_75", "x0_5", "x0_25"))
    stated = {"weight_decay": 3e-5, "crop_area": 0.08}
    reached = ("0.25x 53.87 %, 0.5x 65.94 %, 0.75x 70.44 %, 1x 72.95 %", "11,034 images/s (0.25x)")
    return _mindcv(model, 200, 2, 0.4, stated, "mindcv-mobilenet-v1", models, reached)


def mindcv_mobilenet_v2() -> RecipeSource:
    """MobileNetV2 as mindcv's weights: 320 epochs in batches of 2048.

    ``featherlight train IMAGENET_FOLDER --recipe mindcv-mobilenet-v2``. Accuracy there: 72.27 %. Time not stated, on 8
    Ascend cards; not run here.
    """
    stated = {"batch_size": 8 * 256, "weight_decay": 4e-5, "crop_area": 0.08}
    reached = ("72.27 %", "11,693 images/s (0.75x)")
    return _mindcv("mobilenet_v2_x1_0", 320, 4, 0.4, stated, "kaiming-normal", (), reached)


def mindcv_mobilenet_v3(model: str = "mobilenet_v3_small") -> RecipeSource:
    """MobileNetV3 as mindcv's weights: 470 epochs for small, 420 for large, SGD at high rates.

    ``featherlight train IMAGENET_FOLDER --recipe mindcv-mobilenet-v3 [--model mobilenet_v3_large]``. Accuracy there:
    small 68.10 %, large 75.23 %. Time not stated, on 8 Ascend cards; not run here.
    """
    table = {"mobilenet_v3_small": (470, 0.77, 0.4), "mobilenet_v3_large": (420, 1.08, 0.0)}
    epochs, rate, jitter = _of_model(table, model)
    stated = {"batch_size": 8 * 75, "weight_decay": 2e-5, "weight_decay_on": "weights", "crop_area": 0.08}
    reached = ("small 68.10 %, large 75.23 %", "small 11,068 images/s, large 10,550")
    return _mindcv(model, epochs, 4, rate, {**stated, "color_jitter": jitter}, "kaiming-normal", table, reached)


def _of_model(table: Mapping[str, Settings], model: str) -> Settings:
    """A network's row, whatever its tag; for a network that the source does not have, the first."""
    rows = {name.partition(".")[0]: row for name, row in table.items()}
    return rows.get(model.partition(".")[0], next(iter(rows.values())))
