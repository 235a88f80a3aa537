"""Is it still the same function?"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from featherlight.passes import simplify
from featherlight.passes.base import Step
from featherlight.passes.graph import count_operators


@torch.no_grad()  # autograd forbids writing into some views, which inference allows
def assert_same(module: nn.Module, network: nn.Module, x: Tensor) -> None:
    """Both compute the same in float64, up to rounding."""
    reference = copy.deepcopy(network).double().eval()(x.double())
    difference = (module(x.double()) - reference).abs().max() / reference.abs().max().clamp(min=1e-3)
    assert difference <= 1e-12


def after(network: nn.Module, *names: str, shape: tuple[int, ...] = (3, 3, 8, 7)) -> tuple[dict[str, int], Step]:
    """Runs some passes; gives the operators after them and the last step, and checks that nothing else changed."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = simplify(network, x, passes=names, dtype=torch.float64)
    assert result.problem is None
    assert_same(result.module, network, x)
    return count_operators(result.module), result.steps[-1]


def randomised(network: nn.Module) -> nn.Module:
    """Norms as after training."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.2)
                nn.init.normal_(module.bias, 0, 0.2)
            if module.track_running_stats:
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
    return network.eval()
