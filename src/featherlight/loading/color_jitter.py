"""Colour jitter for a batch: brightness, contrast and saturation, in random order, as torchvision's ``ColorJitter``."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def color_jitter(images: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Changes each image of a batch uint8 (N, S, S, 3), in place.

    Args:
        images: the batch.
        strength: each of the three is multiplied by a factor from ``1 - strength`` to ``1 + strength``.
        rng: where chance comes from.
    """
    from torchvision.transforms.v2 import functional as F  # takes seconds to import, and few runs need it

    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    factors = rng.uniform(1 - strength, 1 + strength, (len(images), len(changes)))
    orders = rng.permuted(np.tile(np.arange(len(changes)), (len(images), 1)), axis=1)
    for image, order, factor in zip(images, orders.tolist(), factors.tolist(), strict=True):
        changed = image.permute(2, 0, 1)
        for k in order:
            changed = changes[k](changed, factor[k])
        image.copy_(changed.permute(1, 2, 0))
    return images
