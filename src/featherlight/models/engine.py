"""The PyTorch engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.devices import select_device
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard
from featherlight.models.weights import load_model


class TorchEngine:
    """Runs a model file with PyTorch, eagerly, in the layout that suits convolutions."""

    name = "torch"

    def __init__(self, path: Path, device: str = "auto") -> None:
        model = load_model(path)
        self.card: ModelCard = model.card  # type: ignore[assignment]
        self._device = select_device(device)
        self._model = model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        tensor = normalized(torch.from_numpy(images).to(self._device), self.card.preprocessing)
        return infer(self._model, tensor).cpu().numpy()


def normalized(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """uint8 (N, S, S, 3) -> float32 (N, C, S, S), channels last in memory; the same as ``images.normalize``."""
    channels = images.permute(0, 3, 1, 2)  # of a channels-last array this is free, and stays channels last
    if preprocessing.in_channels == 1:  # ITU-R 601 in the integer arithmetic Pillow uses for mode "L"
        weights = torch.tensor([19595, 38470, 7471], device=images.device, dtype=torch.int32).view(1, 3, 1, 1)
        channels = ((channels.int() * weights).sum(1, keepdim=True) + 0x8000) >> 16
    shape = (1, preprocessing.in_channels, 1, 1)
    mean = torch.tensor(preprocessing.mean, device=images.device).view(shape) * 255
    scale = 1 / (torch.tensor(preprocessing.std, device=images.device).view(shape) * 255)
    return ((channels.float() - mean) * scale).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def infer(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits in evaluation mode, float32 (N, num_classes)."""
    model.eval()
    logits: torch.Tensor = model(images)
    return logits.float()
