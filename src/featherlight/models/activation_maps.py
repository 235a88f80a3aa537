"""Where a network looks: class-activation maps by Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

Twenty lines: packages for it bring OpenCV, or want an older NumPy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from featherlight.errors import UsageError

LEAST_SIDE = 4  # cells; fewer say nothing about places


def class_activation_maps(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Where in each image a network finds a class.

    The map is the last one that is at least 4 x 4: its channels are weighed by how much they raise the class's logit,
    and what lowers it is left out. For a network that ends in global pooling and one linear layer this is the map of
    Zhou et al. 2016 (arXiv:1512.04150).

    Args:
        model: the network; it stays as it is.
        images: normalised, (N, C, H, W).
        classes: of which class the map is, int64 (N,).

    Returns:
        (N, h, w) from 0 to 1, the highest of each image 1; all 0 where nothing raises the class.

    Raises:
        UsageError: the network makes no such map.
    """
    model.eval()
    with torch.enable_grad():
        features, logits = _run(model, images)
        (slopes,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), features)
    weights = slopes.mean((2, 3), keepdim=True)
    maps = (weights * features.detach()).sum(1).relu()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def _run(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last map of features and the logits, with the way from one to the other recorded."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) >= LEAST_SIDE:
            found[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in model.modules() if module is not model]
    try:
        logits: Tensor = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UsageError(
            f"this network has no map of at least {LEAST_SIDE} x {LEAST_SIDE} cells to show where it looks"
        )
    return found[0], logits
