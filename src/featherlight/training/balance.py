"""Weights in the loss: of classes of very different size, and of single images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_WEIGHT = 20.0  # a class of three images must not throw the network about


def class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """How much an image of each class counts: N / (K * images of the class), at most 20; 0 for empty classes.

    So all classes weigh the same together, and the mean over all images is 1 (King and Zeng 2001; scikit-learn's
    ``class_weight="balanced"``).

    Args:
        labels: of the training images, (N,).
        num_classes: K.

    Returns:
        float32 (K,).
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    weights = len(labels) / (max(1, present) * np.maximum(counts, 1))
    return np.where(counts > 0, np.minimum(weights, MAX_WEIGHT), 0.0).astype(np.float32)


def weigh(losses: Tensor, targets: Tensor, per_class: Tensor | None, per_image: Tensor | None) -> Tensor:
    """Mean of the losses, weighted.

    Args:
        losses: an image, (N,).
        targets: class indices (N,), or probabilities (N, K) where images were mixed.
        per_class: weights (K,).
        per_image: weights (N,); of a mixed image that of the first of the two.

    Returns:
        A number.
    """
    if per_class is not None:
        losses = losses * (targets @ per_class if targets.ndim == 2 else per_class[targets])
    if per_image is not None:
        losses = losses * per_image
    return losses.mean()


def describe_weights(weights: NDArray[np.float32], classes: Sequence[str], shown: int = 10) -> str:
    """``cats 0.5, dogs 2.0``; of many classes the lightest and the heaviest."""
    order = np.argsort(weights, kind="stable") if len(weights) > shown else np.arange(len(weights))
    texts = [f"{classes[k]} {weights[k]:.3g}" for k in order]
    if len(texts) <= shown:
        return ", ".join(texts)
    return ", ".join([*texts[: shown // 2], "...", *texts[-shown // 2 :]])
