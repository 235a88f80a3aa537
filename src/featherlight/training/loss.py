"""What training makes smaller."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from featherlight.training.recipe import Recipe


def compute_losses(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """The recipe's loss of each image.

    ``double-softmax`` hands the network's probabilities to a cross-entropy that expects logits, as training code does
    whose network ends in a softmax. With K classes the loss cannot fall below ``log(e + K - 1) - 1`` and gradients are
    small once the network is sure; it is here to repeat such published runs.

    Args:
        logits: (N, K).
        targets: class indices (N,), or probabilities (N, K) where images were mixed.
        recipe: which loss, and its label smoothing.

    Returns:
        (N,).
    """
    outputs = logits.softmax(1) if recipe.loss == "double-softmax" else logits
    return F.cross_entropy(outputs, targets, label_smoothing=recipe.label_smoothing, reduction="none")
