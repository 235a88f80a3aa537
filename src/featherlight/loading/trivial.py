"""TrivialAugment for a batch: one operation of a random strength per image (Mueller & Hutter 2021).

The operations are torchvision's, with the strengths of its ``TrivialAugmentWide``. Only chance is our own: torchvision
draws from PyTorch's global generator, which belongs to the network while batches are prepared in other threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

BINS = 31  # strengths of an operation, evenly spaced
Operation = Callable[[Tensor, float], Tensor]


# Weakest and strongest, and whether half of them are negative.
RANGES: dict[str, tuple[float, float, bool]] = {
    "Identity": (0, 0, False),
    "ShearX": (0, 0.99, True),
    "ShearY": (0, 0.99, True),
    "TranslateX": (0, 32, True),
    "TranslateY": (0, 32, True),
    "Rotate": (0, 135, True),
    "Brightness": (0, 0.99, True),
    "Color": (0, 0.99, True),
    "Contrast": (0, 0.99, True),
    "Sharpness": (0, 0.99, True),
    "Posterize": (8, 2, False),
    "Solarize": (1, 0, False),
    "AutoContrast": (0, 0, False),
    "Equalize": (0, 0, False),
}


def trivial_augment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Changes each image of a batch uint8 (N, S, S, 3) by one random operation, in place."""
    names = rng.choice(tuple(RANGES), len(images)).tolist()
    steps = rng.integers(0, BINS, len(images))
    signs = np.where(rng.random(len(images)) < 0.5, -1, 1)
    for image, name, step, sign in zip(images, names, steps.tolist(), signs.tolist(), strict=True):
        changed = operation_of(name)(image.permute(2, 0, 1), strength(name, step, sign))
        image.copy_(changed.permute(1, 2, 0))
    return images


def strength(name: str, step: int, sign: int) -> float:
    """What an operation is called with at one of ``BINS`` steps of its range."""
    weakest, strongest, is_signed = RANGES[name]
    value = float(torch.linspace(weakest, strongest, BINS)[step])
    return value * sign if is_signed else value


@functools.cache
def operation_of(name: str) -> Operation:
    """What changes an image uint8 (3, H, W) with a given strength."""
    from torchvision.transforms.v2 import functional as F  # takes seconds to import, and few runs need it

    geometric: dict[str, Operation] = {
        "ShearX": lambda image, value: _affine(image, shear=[_degrees(value), 0.0], center=[0, 0]),
        "ShearY": lambda image, value: _affine(image, shear=[0.0, _degrees(value)], center=[0, 0]),
        "TranslateX": lambda image, value: _affine(image, translate=[int(value), 0]),
        "TranslateY": lambda image, value: _affine(image, translate=[0, int(value)]),
        "Rotate": F.rotate,
    }
    colours: dict[str, Operation] = {
        "Brightness": lambda image, value: F.adjust_brightness(image, 1 + value),
        "Color": lambda image, value: F.adjust_saturation(image, 1 + value),
        "Contrast": lambda image, value: F.adjust_contrast(image, 1 + value),
        "Sharpness": lambda image, value: F.adjust_sharpness(image, 1 + value),
        "Posterize": lambda image, value: F.posterize(image, round(value)),
        "Solarize": lambda image, value: F.solarize(image, 255 * value),
        "AutoContrast": lambda image, _: F.autocontrast(image),
        "Equalize": lambda image, _: F.equalize(image),
        "Invert": lambda image, _: F.invert(image),
        "Identity": lambda image, _: image,
    }
    return {**geometric, **colours}[name]


def _affine(image: Tensor, **changes: Any) -> Tensor:
    from torchvision.transforms.v2 import functional as F

    still: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    moved: Tensor = F.affine(image, **{**still, **changes})
    return moved


def _degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))
