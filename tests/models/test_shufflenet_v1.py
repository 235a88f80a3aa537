from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.catalogue import list_models
from featherlight.models.registry import create_model
from featherlight.models.shufflenet_v1 import ShuffleUnit, shufflenet_v1


def randomise_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)


def paper_unit(unit: ShuffleUnit, x: Tensor) -> Tensor:
    """Figure 2 of the paper, written down once more, step by step."""

    def convolve_and_normalise(part: nn.Sequential, y: Tensor, **options: int) -> Tensor:
        convolution, norm = part[0], part[1]
        y = F.conv2d(y, convolution.weight, groups=convolution.groups, **options)
        mean, scale = norm.running_mean, norm.weight / torch.sqrt(norm.running_var + 1e-5)
        return (y - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)

    y = convolve_and_normalise(unit.squeeze, x).clamp(min=0)
    y = y.reshape(len(y), unit.groups, -1, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
    y = convolve_and_normalise(unit.depthwise, y, stride=unit.stride, padding=1)
    y = convolve_and_normalise(unit.expand, y)
    if unit.stride == 1:
        return (x + y).clamp(min=0)
    padded = F.pad(x, (1, 1, 1, 1))
    pooled = padded.unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5))  # zeros of the border count
    return torch.cat((pooled, y), dim=1).clamp(min=0)


@pytest.mark.parametrize(("in_channels", "stride", "squeeze_groups"), [(24, 2, 1), (24, 2, None), (48, 1, None)])
def test_unit_computes_what_the_paper_draws(in_channels: int, stride: int, squeeze_groups: int | None) -> None:
    torch.manual_seed(0)
    unit = ShuffleUnit(in_channels, 48, stride, groups=3, squeeze_groups=squeeze_groups).eval()
    randomise_norms(unit)
    x = torch.randn(2, in_channels, 7, 10)
    with torch.inference_mode():
        torch.testing.assert_close(unit(x), paper_unit(unit, x), rtol=1e-5, atol=1e-5)


def test_only_the_first_pointwise_convolution_is_ungrouped() -> None:
    network = shufflenet_v1(groups=4, width_mult=1.0)
    squeezes = [unit.squeeze[0].groups for unit in network.modules() if isinstance(unit, ShuffleUnit)]
    expands = [unit.expand[0].groups for unit in network.modules() if isinstance(unit, ShuffleUnit)]
    assert squeezes == [1] + [4] * 15
    assert expands == [4] * 16


@pytest.mark.parametrize("width", [0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
def test_every_combination_is_either_registered_or_refused(groups: int, width: float) -> None:
    name = f"shufflenet_v1_g{groups}_x{width}".replace(".", "_")
    if name in list_models():
        with torch.device("meta"):
            assert create_model(name).stage2[1].groups == groups
    else:
        with pytest.raises(UsageError, match=f"with {groups} groups does not exist at width {width:g}: .* channels"):
            shufflenet_v1(groups, width)


@pytest.mark.parametrize(("groups", "width"), [(5, 1.0), (3, 0.6)])
def test_unknown_groups_and_widths_are_listed(groups: int, width: float) -> None:
    with pytest.raises(UsageError, match=r"groups are 1, 2, 3, 4, 8, widths are 0\.25, 0\.5, 0\.75, 1, 1\.5, 2$"):
        shufflenet_v1(groups, width)
