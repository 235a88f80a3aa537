from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torchvision
from torch import nn

from featherlight.models.registry import create_model
from featherlight.training.initialisation import initialise, set_norm_momentum
from featherlight.training.recipe import Initialisation

STYLES = [style for style in get_args(Initialisation) if style != "network"]


def drawn(style: Initialisation, name: str = "shufflenet_v1_g3_x1_0") -> nn.Module:
    torch.manual_seed(0)
    network = create_model(name, 10)
    initialise(network, style)
    return network


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def linear(network: nn.Module) -> nn.Linear:
    return next(module for module in network.modules() if isinstance(module, nn.Linear))


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def assert_spread(weight: torch.Tensor, expected: float) -> None:
    """The standard deviation of a sample of n lies within 5 of its own standard deviations."""
    assert weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weight.numel()))


def test_the_networks_own_weights_are_left_alone():
    torch.manual_seed(0)
    own = create_model("shufflenet_v1_g3_x1_0", 10).state_dict()
    kept = drawn("network").state_dict()
    assert all(torch.equal(own[key], kept[key]) for key in own)


@pytest.mark.parametrize("style", STYLES)
def test_weights_follow_the_seed_and_norms_start_plain(style):
    first, second = drawn(style).state_dict(), drawn(style).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    for norm in norms(drawn(style)):
        assert torch.all(norm.weight == 1)
        assert torch.all(norm.bias == (1e-4 if style == "megvii" else 0))
        assert torch.all(norm.running_mean == 0)
        assert torch.all(norm.running_var == 1)


def test_pytorchs_weights_are_those_of_a_network_that_sets_none():
    """torchvision's ShuffleNetV2 leaves its layers as PyTorch makes them; the random numbers come in the same order."""
    network = create_model("shufflenet_v2_x0_5", 10)
    torch.manual_seed(0)
    initialise(network, "pytorch")
    torch.manual_seed(0)
    theirs = torchvision.models.shufflenet_v2_x0_5(num_classes=10)
    for ours, reference in zip(convolutions(network), convolutions(theirs), strict=True):
        assert torch.equal(ours.weight, reference.weight)
    assert torch.equal(linear(network).weight, linear(theirs).weight)
    assert torch.equal(linear(network).bias, linear(theirs).bias)


@pytest.mark.parametrize("style", ["xavier-uniform", "keras", "mindcv-mobilenet-v1"])
def test_glorot_is_pytorchs_xavier_uniform_and_grouped_1x1_are_many_small_ones(style):
    network = drawn(style)
    for layer in convolutions(network):
        groups = layer.groups if layer.kernel_size == (1, 1) else 1
        one = torch.empty(layer.out_channels // groups, *layer.weight.shape[1:])
        nn.init.xavier_uniform_(one)
        bound = math.sqrt(6 / sum(nn.init._calculate_fan_in_and_fan_out(one)))
        assert layer.weight.abs().max().item() <= bound
        assert_spread(layer.weight, bound / math.sqrt(3))


def test_megviis_weights():
    first, *others = convolutions(drawn("megvii"))
    assert_spread(first.weight, 0.01)
    for layer in others:
        assert_spread(layer.weight, 1 / (layer.in_channels // layer.groups))
    assert_spread(linear(drawn("megvii")).weight, 0.01)


@pytest.mark.parametrize(("style", "spread"), [("kaiming-normal", 0.01), ("jaxony", 0.001)])
def test_he_normal_weights(style, spread):
    network = drawn(style)
    for layer in convolutions(network):
        assert_spread(layer.weight, math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size) / 1)))
    assert_spread(linear(network).weight, spread)
    assert torch.all(linear(network).bias == 0)


def test_kerass_and_mindcvs_classifiers():
    keras, truncated = linear(drawn("keras")), linear(drawn("mindcv-mobilenet-v1"))
    assert keras.weight.abs().max().item() <= math.sqrt(6 / (960 + 10))
    assert_spread(keras.weight, math.sqrt(2 / (960 + 10)))
    assert truncated.weight.abs().max().item() <= 0.02
    assert truncated.weight.std().item() == pytest.approx(0.0088, rel=0.05)  # of a normal cut at two deviations
    assert torch.all(keras.bias == 0)
    assert torch.all(truncated.bias == 0)


def test_norm_momentum_is_set_everywhere_or_nowhere():
    network = drawn("network", "mobilenet_v3_small")
    set_norm_momentum(network, None)
    assert {norm.momentum for norm in norms(network)} == {0.01}
    set_norm_momentum(network, 0.1)
    assert {norm.momentum for norm in norms(network)} == {0.1}
