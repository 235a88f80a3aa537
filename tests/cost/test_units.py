"""Formulas of the articles beside units that are really built."""

from __future__ import annotations

from typing import Any

import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.cost.count import count_cost
from featherlight.cost.units import UnitCost, UnitSize, convolution_costs, unit_costs
from featherlight.errors import UsageError
from featherlight.models.registry import create_model
from featherlight.models.shufflenet_v1 import ShuffleUnit


def by_name(size: UnitSize) -> dict[str, UnitCost]:
    return {cost.unit: cost for cost in [*unit_costs(size), *convolution_costs(size)]}


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_built_units_cost_what_the_formulas_say(groups: int, c: int, m: int, height: int, width: int) -> None:
    size = UnitSize(c * groups, m * groups, groups, height, width)
    for cost in by_name(size).values():
        if cost.unit == "ShuffleNet, stride 2, usual formula":
            assert cost.macs is None or cost.macs < cost.formula_macs
        else:
            assert cost.macs == cost.formula_macs


def test_articles_convolution_takes_2400_multiplications_and_the_separable_one_900() -> None:
    costs = by_name(UnitSize(channels=3, middle=8, groups=1, height=5, width=5, kernel=2))
    assert (costs["convolution"].formula_macs, costs["convolution"].macs) == (2400, 2400)
    separable = costs["depthwise separable convolution"]
    assert (separable.formula_macs, separable.macs) == (900, 900)


def test_resnext_spends_93_percent_in_pointwise_convolutions() -> None:
    cost = by_name(UnitSize(channels=256, middle=128, groups=32))["ResNeXt"]
    assert cost.pointwise_share is not None
    assert f"{cost.pointwise_share:.1%}" == "93.4%"


@pytest.mark.parametrize(("groups", "width", "unit"), [(1, 64, "ResNet"), (32, 4, "ResNeXt")])
def test_resnet_and_resnext_units_cost_what_torchvisions_do(groups: int, width: int, unit: str) -> None:
    bottleneck = torchvision.models.resnet.Bottleneck(256, 64, groups=groups, base_width=width)
    built = count_cost(bottleneck, (256, 14, 14), "bottleneck")
    middle = bottleneck.conv2.out_channels
    cost = by_name(UnitSize(channels=256, middle=middle, groups=groups, height=14, width=14))[unit]
    assert (cost.macs, cost.params) == (built.macs, built.params)


def test_shufflenet_unit_of_stride_1_costs_what_the_networks_does() -> None:
    built = count_cost(ShuffleUnit(240, 240, 1, groups=3), (240, 28, 28), "unit")
    cost = by_name(UnitSize(channels=240, middle=60, groups=3))["ShuffleNet, stride 1"]
    assert (cost.macs, cost.params, cost.activation_bytes) == (built.macs, built.params, built.activation_bytes)
    assert cost.macs == 784 * (2 * 240 * 60 // 3 + 9 * 60)


def test_stride_2_is_shown_with_and_without_the_concatenation() -> None:
    network = count_cost(create_model("shufflenet_v1_g3_x1_0"), (3, 224, 224), "network")
    in_network = sum(layer.macs for layer in network.layers if layer.name.startswith("stage3.0."))
    costs = by_name(UnitSize(channels=240, middle=120, groups=3))
    usual, exact = costs["ShuffleNet, stride 2, usual formula"], costs["ShuffleNet, stride 2, concatenated"]
    assert usual.formula_macs == 784 * 240 * 120 // 3 + 196 * (9 * 120 + 4 * 120 * 120 // 3)
    assert exact.formula_macs == exact.macs == usual.macs == in_network == 9_619_680
    assert "ignores the concatenation" in usual.note
    assert exact.note == "the branch makes 4m - c = 240 channels"


def test_stride_2_unit_without_a_branch_does_not_exist() -> None:
    costs = by_name(UnitSize(channels=240, middle=60, groups=3))
    usual = costs["ShuffleNet, stride 2, usual formula"]
    assert (usual.macs, usual.pointwise_share, usual.params) == (None, None, None)
    assert usual.note == "no such unit: its branch would make 4m - c = 0 channels"
    assert "ShuffleNet, stride 2, concatenated" not in costs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups": 7}, "channels is 240, which 7 groups do not divide"),
        ({"middle": 100}, "middle is 100, which 3 groups do not divide"),
        ({"height": 0}, "height is 0; give a whole number of at least 1"),
        ({"kernel": 2.5}, "kernel is 2.5"),
        ({"width": True}, "width is True"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UnitSize(**wrong)
