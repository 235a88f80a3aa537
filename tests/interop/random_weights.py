"""Weights and running statistics under which every layer matters and logits stay near one."""

from __future__ import annotations

import torch
from torch import nn


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fills ``network`` and puts it into evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        kind = name.rpartition(".")[2]
        if kind == "running_var" or (kind == "weight" and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim < 2:
            tensor.normal_(0, 0.2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
    return network.eval()
