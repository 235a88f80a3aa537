"""CIFAR-10 recipes of two repositories that others measure themselves by. Neither has been run here to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featherlight.training.recipes.source import NOT_DONE, NOT_STATED, RecipeSource

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_VALIDATION = "accuracies there are of the test images after each epoch; here validation images are cut out of train"

_STATED: Mapping[str, Any] = {
    "input_size": 32,
    "mean": CIFAR10_MEAN,
    "std": CIFAR10_STD,
    "epochs": 200,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "loss": "cross-entropy",
    "crop": "pad",
    "flip": True,
}
_IMPLIED: Mapping[str, Any] = {**NOT_DONE, "crop_fraction": 1.0, "rate_per": "epoch"}


def kuangliu_cifar10(model: str = "mobilenet_v2_x1_0") -> RecipeSource:
    """The usual recipe for CIFAR-10, by the repository whose ShuffleNet one of the articles shows.

    ``featherlight train cifar10 --recipe kuangliu-cifar10 [--model shufflenet_v1_g3_x1_0.kuangliu]``. Accuracy there:
    MobileNetV2 94.43 %, of the best epoch; none stated for the others. Time not stated; not run here.
    """
    return RecipeSource(
        source="kuangliu/pytorch-cifar, main.py",
        data="cifar10",
        accuracy="MobileNetV2 94.43 %, best epoch; others not stated",
        time=NOT_STATED,
        stated={"model": model, "stem": "cifar", "batch_size": 128, **_STATED},
        implied={**_IMPLIED, "initialisation": "pytorch", "dropout": 0.0},
        notes=(_VALIDATION,),
        models=(
            "mobilenet_v2_x1_0",
            "mobilenet_v1_x1_0.kuangliu",
            "shufflenet_v1_g2_x1_0.kuangliu",
            "shufflenet_v1_g3_x1_0.kuangliu",
        ),
    )


def chenyaofo_cifar10(model: str = "shufflenet_v2_x0_5") -> RecipeSource:
    """ShuffleNetV2 for CIFAR-10 as chenyaofo's weights: 200 epochs, cosine, Nesterov.

    ``featherlight train cifar10 --recipe chenyaofo-cifar10 [--model shufflenet_v2_x1_0]``. Accuracy there, of the best
    and of the last epoch: 0.5x 90.13 and 89.88 %, 1x 92.98 and 92.91 %, 1.5x 93.55 and 93.10 %, 2x 93.81 and 93.65 %.
    Time by the log: 15 s an epoch on a GTX 1080 for 0.5x. Not run here.
    """
    return RecipeSource(
        source="chenyaofo/pytorch-cifar-models, logs; chenyaofo/image-classification-codebase, conf/cifar10.conf",
        data="cifar10",
        accuracy="last epoch (best): 0.5x 89.88 (90.13), 1x 92.91 (92.98), 1.5x 93.10 (93.55), 2x 93.65 (93.81) %",
        time="15 s an epoch on a GTX 1080 (0.5x)",
        stated={"model": model, "stem": "cifar", "batch_size": 256, "nesterov": True, **_STATED},
        implied={**_IMPLIED, "initialisation": "pytorch"},
        notes=(_VALIDATION,),
        models=tuple(f"shufflenet_v2_{width}" for width in ("x0_5", "x1_0", "x1_5", "x2_0")),
    )
