"""What the tests of this room share: networks with nothing left as it starts, and comparing two of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, affine parameters and running statistics, in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.5, generator=generator)
            nn.init.normal_(module.running_mean, std=0.5, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.5, generator=generator)
    return network


def images(side: int, width: int | None = None, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, 3, side, width or side, generator=generator, dtype=torch.float64)


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    """Equal up to the rounding of float64; the logits must differ enough for that to say something."""
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours / theirs.std(), theirs / theirs.std(), rtol=0, atol=1e-10)
