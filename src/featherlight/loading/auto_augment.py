"""AutoAugment for a batch: two operations an image, by a policy that was searched for (Cubuk et al. 2019).

Policies are torchvision's, strengths those of its ``AutoAugment``. Only chance is our own, as in
:mod:`featherlight.loading.trivial`.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from featherlight.loading.trivial import operation_of

Policy = Literal["none", "imagenet", "cifar10", "svhn"]
Step = tuple[str, float, int | None]  # operation, probability, strength

_STEPS = 10  # strengths of an operation, evenly spaced
_STRONGEST = {
    "ShearX": 0.3,
    "ShearY": 0.3,
    "Rotate": 30.0,
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
}  # weakest is 0, and half of them are negative
_TRANSLATION = 150 / 331  # of the side, likewise


def auto_augment(images: Tensor, policy: Policy, rng: np.random.Generator) -> Tensor:
    """Changes each image of a batch uint8 (N, S, S, 3) by one of the policy's pairs of operations, in place."""
    pairs = pairs_of(policy)
    chosen = rng.integers(0, len(pairs), len(images)).tolist()
    chances = rng.random((len(images), 2)).tolist()
    signs = np.where(rng.random((len(images), 2)) < 0.5, -1, 1).tolist()
    for image, pair, chance, sign in zip(images, chosen, chances, signs, strict=True):
        changed = image.permute(2, 0, 1)
        for k, (name, probability, step) in enumerate(pairs[pair]):
            if chance[k] < probability:
                changed = operation_of(name)(changed, strength(name, step, sign[k], image.shape[0]))
        image.copy_(changed.permute(1, 2, 0))
    return images


@functools.cache
def pairs_of(policy: Policy) -> list[tuple[Step, Step]]:
    """A policy's pairs of operations."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # takes seconds to import, and few runs need it

    pairs: list[tuple[Step, Step]] = AutoAugment(AutoAugmentPolicy(policy)).policies
    return pairs


def strength(name: str, step: int | None, sign: int, side: int) -> float:
    """What an operation is called with.

    Args:
        name: of the operation.
        step: of its range, 0 to 9; None where it has none.
        sign: -1 or 1, for those that go both ways.
        side: of the image, pixels.
    """
    if step is None:
        return 0.0
    if name == "Solarize":
        return _spaced(1, 0, step)
    if name == "Posterize":
        return round(_spaced(8, 4, step))  # bits that are left
    return sign * _spaced(0, _TRANSLATION * side if name.startswith("Translate") else _STRONGEST[name], step)


def _spaced(weakest: float, strongest: float, step: int) -> float:
    return float(torch.linspace(weakest, strongest, _STEPS)[step])  # as torchvision rounds it
