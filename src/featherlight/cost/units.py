"""What a unit costs: by the formulas of the papers, and counted on a unit that is really built.

Input (c, h, w), middle width m, groups g. A ResNet unit is 1x1 (c to m), 3x3 (m to m), 1x1 (m to c); ResNeXt groups
the 3x3; ShuffleNet groups both 1x1 and takes m groups for the 3x3. Sources: Zhang et al. 2018, arXiv 1707.01083,
section 3.2; Howard et al. 2017, arXiv 1704.04861, section 3.1, for separable convolutions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from featherlight.cost.count import count_cost
from featherlight.cost.result import Cost
from featherlight.errors import UsageError
from featherlight.models.layers import channel_shuffle, conv_norm
from featherlight.models.shufflenet_v1 import ShuffleUnit


@dataclass(frozen=True)
class UnitSize:
    """The letters of the formulas.

    Attributes:
        channels: c, of the input.
        middle: m, of the 3x3 convolution; of the output where a single convolution is costed.
        groups: g.
        height: h, of the input.
        width: w, of the input.
        kernel: K, side of the single convolutions' kernel; units always have 3.

    Raises:
        UsageError: a number is not positive, or the groups do not divide c and m.
    """

    channels: int = 240
    middle: int = 120
    groups: int = 3
    height: int = 28
    width: int = 28
    kernel: int = 3

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}; give a whole number of at least 1")
        for name in ("channels", "middle"):
            if getattr(self, name) % self.groups:
                raise UsageError(f"{name} is {getattr(self, name)}, which {self.groups} groups do not divide")

    def to_dict(self) -> dict[str, int]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class UnitCost:
    """One row of ``profile --units``.

    Attributes:
        unit: what it is.
        formula: multiply-adds in letters.
        formula_macs: the same in numbers.
        macs: multiply-adds of the unit as built; None where it cannot be built.
        pointwise_macs: of them, those of the 1x1 convolutions.
        params: parameters of the unit as built, with batch normalisation for units.
        activation_bytes: size of the tensors that it computes.
        note: why the numbers differ, or why there is no such unit.
    """

    unit: str
    formula: str
    formula_macs: int
    macs: int | None = None
    pointwise_macs: int | None = None
    params: int | None = None
    activation_bytes: int | None = None
    note: str = ""

    @property
    def pointwise_share(self) -> float | None:
        """Part of the multiply-adds that the 1x1 convolutions do."""
        return None if self.macs is None or self.pointwise_macs is None else self.pointwise_macs / self.macs

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``pointwise_share`` in place of ``pointwise_macs``."""
        row = dataclasses.asdict(self)
        del row["pointwise_macs"]
        return {**row, "pointwise_share": self.pointwise_share}


class ResidualUnit(nn.Module):
    """1x1, 3x3, 1x1 with batch normalisation, added to the input: a ResNet unit, with ``groups`` a ResNeXt unit.

    With ``pointwise_groups`` it is the ShuffleNet unit of stride 1: shuffled, depthwise, no ReLU after the 3x3.
    """

    def __init__(self, channels: int, middle: int, groups: int = 1, pointwise_groups: int | None = None) -> None:
        super().__init__()
        self.shuffle_groups = pointwise_groups or 1
        is_shuffle = pointwise_groups is not None
        activation, spatial_groups = (None, middle) if is_shuffle else (nn.ReLU, groups)
        self.squeeze = nn.Sequential(*conv_norm(channels, middle, 1, groups=self.shuffle_groups))
        self.spatial = nn.Sequential(*conv_norm(middle, middle, 3, groups=spatial_groups, activation=activation))
        self.expand = nn.Sequential(*conv_norm(middle, channels, 1, groups=self.shuffle_groups, activation=None))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, H, W)
        """Runs the unit."""
        return F.relu(x + self.expand(self.spatial(channel_shuffle(self.squeeze(x), self.shuffle_groups))))


def unit_costs(size: UnitSize) -> list[UnitCost]:
    """Costs of the ResNet, ResNeXt and ShuffleNet units of this size."""
    c, m, g, pixels = size.channels, size.middle, size.groups, size.height * size.width
    rows = [
        (UnitCost("ResNet", "hw(2cm + 9m²)", pixels * (2 * c * m + 9 * m * m)), ResidualUnit(c, m)),
        (UnitCost("ResNeXt", "hw(2cm + 9m²/g)", pixels * (2 * c * m + 9 * m * m // g)), ResidualUnit(c, m, g)),
        (
            UnitCost("ShuffleNet, stride 1", "hw(2cm/g + 9m)", pixels * (2 * c * m // g + 9 * m)),
            ResidualUnit(c, m, pointwise_groups=g),
        ),
    ]
    return [_counted(row, built, (c, size.height, size.width)) for row, built in rows] + _stride_2_costs(size)


def _stride_2_costs(size: UnitSize) -> list[UnitCost]:
    """The ShuffleNet unit that halves the image, by the usual formula and by one that minds the concatenation."""
    c, m, g = size.channels, size.middle, size.groups
    halved = -(-size.height // 2) * -(-size.width // 2)  # odd sides are rounded up
    before = size.height * size.width * c * m // g + halved * 9 * m
    branch = 4 * m - c
    usual = UnitCost(
        "ShuffleNet, stride 2, usual formula",
        "hw·cm/g + (h/2)(w/2)(9m + 4m²/g)",
        before + halved * 4 * m * m // g,
        note="ignores the concatenation: the last 1x1 would make all 4m channels",
    )
    exact = UnitCost(
        "ShuffleNet, stride 2, concatenated",
        "hw·cm/g + (h/2)(w/2)(9m + m(4m-c)/g)",
        before + halved * m * branch // g,
        note=f"the branch makes 4m - c = {branch} channels",
    )
    if branch < 1:
        note = f"no such unit: its branch would make 4m - c = {branch} channels"
        return [dataclasses.replace(usual, note=note)]
    unit = ShuffleUnit(in_channels=c, out_channels=4 * m, stride=2, groups=g)
    return [_counted(row, unit, (c, size.height, size.width)) for row in (usual, exact)]


def convolution_costs(size: UnitSize) -> list[UnitCost]:
    """Costs of a single KxK convolution from c to m channels: plain, grouped, and split into depthwise and 1x1.

    h and w are those of the output; the input is larger by the border that the kernel needs.
    """
    c, m, g, k, pixels = size.channels, size.middle, size.groups, size.kernel, size.height * size.width
    separable = nn.Sequential(_convolution(c, c, k, c), _convolution(c, m, 1))
    rows: list[tuple[UnitCost, nn.Module]] = [
        (UnitCost("convolution", "hw·K²cm", pixels * k * k * c * m), _convolution(c, m, k)),
        (
            UnitCost(f"grouped convolution, g = {g}", "hw·K²cm/g", pixels * k * k * c * m // g),
            _convolution(c, m, k, g),
        ),
        (UnitCost("depthwise separable convolution", "hw(K²c + cm)", pixels * (k * k * c + c * m)), separable),
    ]
    return [_counted(row, built, (c, size.height + k - 1, size.width + k - 1)) for row, built in rows]


def _convolution(in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=False)


def _counted(row: UnitCost, built: nn.Module, input_shape: tuple[int, int, int]) -> UnitCost:
    cost = count_cost(built, input_shape, row.unit)
    return dataclasses.replace(
        row,
        macs=cost.macs,
        pointwise_macs=_pointwise_macs(built, cost),
        params=cost.params,
        activation_bytes=cost.activation_bytes,
    )


def _pointwise_macs(built: nn.Module, cost: Cost) -> int:
    pointwise = {
        name or type(module).__name__
        for name, module in built.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    }
    return sum(layer.macs for layer in cost.layers if layer.name in pointwise)
