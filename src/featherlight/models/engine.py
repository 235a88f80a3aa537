"""The PyTorch engine."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.devices import select_device
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard
from featherlight.models.activation_maps import class_activation_maps
from featherlight.models.weights import load_model

_PART = 2**15 - 1  # values; PyTorch would hand more to several threads, which then wait for each other


class TorchEngine:
    """Runs a model file with PyTorch, eagerly, in the layout that suits convolutions."""

    name = "torch"
    resizes = False

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)  # PyTorch knows only one number for the whole process
        model = load_model(path)
        self.card: ModelCard = model.card  # type: ignore[assignment]
        self.device = select_device(device)
        self._model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        tensor = normalized(torch.from_numpy(images).to(self.device), self.card.preprocessing)
        return infer(self._model, tensor).cpu().numpy()

    def activation_maps(self, images: NDArray[np.uint8], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Where in each image, uint8 (N, S, S, 3), it finds a class (N,); (N, h, w) from 0 to 1.

        Raises:
            UsageError: the network makes no map that is large enough.
        """
        tensor = normalized(torch.from_numpy(images).to(self.device), self.card.preprocessing)
        maps = class_activation_maps(self._model, tensor, torch.from_numpy(classes).to(self.device))
        return maps.float().cpu().numpy()


def normalized(images: torch.Tensor, preprocessing: Preprocessing, out: torch.Tensor | None = None) -> torch.Tensor:
    """uint8 (N, S, S, 3) -> float32 (N, C, S, S), channels last in memory; the same as ``images.normalize``.

    Args:
        images: on any device.
        preprocessing: mean and std; one channel for grey.
        out: where to write, float32 (N, S, S, C); by default new memory.
    """
    if preprocessing.in_channels == 1:  # ITU-R 601 in the integer arithmetic Pillow uses for mode "L"
        weights = torch.tensor([19595, 38470, 7471], device=images.device, dtype=torch.int32)
        images = ((images.int() * weights).sum(3, keepdim=True) + 0x8000) >> 16
    count, height, width, channels = images.shape
    result = torch.empty(images.shape, dtype=torch.float32, device=images.device) if out is None else out
    # By rows, since a loop over three channels would take ten times as long; and by parts that stay in a core's cache.
    mean, std = (
        torch.tensor(values, device=images.device).repeat(width) * 255
        for values in (preprocessing.mean, preprocessing.std)
    )
    scale = 1 / std
    rows = (count * height, width * channels)
    part = max(1, _PART // (width * channels)) if images.device.type == "cpu" else max(1, count * height)
    for source, target in zip(
        torch.split(images.reshape(rows), part), torch.split(result.view(rows), part), strict=True
    ):
        target.copy_(source).sub_(mean).mul_(scale)
    return result.permute(0, 3, 1, 2)


class Normalizer:
    """:func:`normalized` into the same memory each time.

    On the CPU, pages that the operating system gives anew cost several times what the arithmetic does. NumPy asks for
    large pages, PyTorch does not.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._memory = torch.empty(0)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, S, S, 3) -> float32 (N, C, S, S), which is good until the next call."""
        shape = (*images.shape[:3], self._preprocessing.in_channels)
        if self._memory.numel() < math.prod(shape) or self._memory.device != images.device:
            self._memory = torch.from_numpy(np.empty(math.prod(shape), np.float32)).to(images.device)
        return normalized(images, self._preprocessing, self._memory[: math.prod(shape)].view(shape))


@torch.inference_mode()
def infer(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits in evaluation mode, float32 (N, num_classes)."""
    model.eval()
    logits: torch.Tensor = model(images)
    return logits.float()
