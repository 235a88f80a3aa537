"""Golden numbers and one contract for every registered network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from featherlight.models.registry import create_model, list_models, model_info

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "reference" / "networks.json").read_text())
NETWORKS: dict[str, Any] = {**GOLDEN["networks"], **GOLDEN["variants"]}


def distinct_networks() -> list[str]:
    """All plain networks, and of every kind of variant the smallest one."""
    plain = [name for name in list_models() if "." not in name]
    kinds: dict[Any, str] = {}
    for name in sorted(list_models("*.*"), key=lambda name: model_info(name).params):
        info = model_info(name)
        kinds.setdefault((info.family, info.options, info.stem), name)
    return plain + [name for name in kinds.values() if not model_info(name).alias_of]


def quick_or_slow(names: list[str]) -> list[Any]:
    """Of plain networks that differ in width alone, all but the smallest are slow; their numbers are golden anyway."""
    seen, found = set[str](), []
    for name in names:
        kind = name if "." in name else name.partition("_x")[0]
        found.append(pytest.param(name, marks=pytest.mark.slow if kind in seen else ()))
        seen.add(kind)
    return found


every_network = pytest.mark.parametrize("name", list_models())
every_function = pytest.mark.parametrize("name", quick_or_slow(distinct_networks()))


def count_params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_macs(network: nn.Module, input_size: int) -> int:
    counter = FlopCounterMode(display=False)  # two for each multiply-add
    with counter, torch.inference_mode():
        network.eval()(torch.empty(1, 3, input_size, input_size, device="meta"))
    return counter.get_total_flops() // 2


def classifier_macs(network: nn.Module) -> int:
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Linear))


def is_bias_before_norm(network: nn.Module, parameter: str) -> bool:
    layer, _, kind = parameter.rpartition(".")
    above, _, place = layer.rpartition(".")
    layers = list(network.get_submodule(above).children())
    return kind == "bias" and place.isdigit() and isinstance(layers[(int(place) + 1) % len(layers)], nn.BatchNorm2d)


def test_golden_numbers_exist_for_every_registered_network() -> None:
    assert list(NETWORKS) == list_models()


@every_network
def test_parameters_and_macs_are_the_golden_numbers(name: str) -> None:
    golden = NETWORKS[name]
    input_size = golden.get("input_size", 224)
    with torch.device("meta"):
        network = create_model(name, input_size=input_size)
    assert count_params(network) == golden["params"] == model_info(name).params
    macs = count_macs(network, input_size)
    assert macs == golden["macs"]
    assert macs - classifier_macs(network) == golden["macs_without_classifier"]


@pytest.mark.parametrize("name", [name for name, golden in NETWORKS.items() if "published_macs" in golden])
def test_macs_are_the_published_millions(name: str) -> None:
    golden = NETWORKS[name]
    published = golden["published_macs"]
    macs = golden["macs"] if published["with_classifier"] else golden["macs_without_classifier"]
    assert round(macs / 1e6) == published["millions"]


@pytest.mark.parametrize("name", GOLDEN["ten_classes"])
def test_variants_are_as_large_as_the_original_implementations(name: str) -> None:
    golden = GOLDEN["ten_classes"][name]
    with torch.device("meta"):
        network = create_model(name, num_classes=10, input_size=golden["input_size"])
    assert count_params(network) == golden["params"]
    assert count_macs(network, golden["input_size"]) == golden["macs"]


@pytest.mark.parametrize("name", GOLDEN["cifar"])
def test_networks_for_small_images_have_the_published_size(name: str) -> None:
    golden = GOLDEN["cifar"][name]
    with torch.device("meta"):
        network = create_model(name, num_classes=10, input_size=32)
    params, macs = count_params(network), count_macs(network, 32)
    assert (params, macs) == (golden["params"], golden["macs"])
    if "published" in golden:
        assert f"{params / 1e6:.2f}" == golden["published"]["params_millions"]
        assert f"{macs / 1e6:.2f}" == golden["published"]["macs_millions"]


@every_function
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_one_image_of_any_size_gives_logits(name: str, stem: str) -> None:
    network = create_model(name, num_classes=5, in_channels=1, stem=stem).eval()
    for height, width in ((16, 16), (33, 17)):
        with torch.inference_mode():
            logits = network(torch.randn(1, 1, height, width))
        assert logits.shape == (1, 5)
        assert logits.isfinite().all()


@every_function
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, input_size=32).train()
    F.cross_entropy(network(torch.randn(4, 3, 16, 16)), torch.tensor([0, 1, 2, 0])).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if not is_bias_before_norm(network, parameter_name):  # the norm takes its mean off again
            assert parameter.grad.any(), parameter_name


@every_function
def test_state_dict_carries_the_whole_function(name: str) -> None:
    options = {"output": "logits"} if model_info(name).options else None  # a softmax of such small ones is flat
    first, second = (create_model(name, num_classes=3, input_size=32, options=options).eval() for _ in range(2))
    for module in first.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    second.load_state_dict(first.state_dict())
    x = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        expected = first(x)
        assert torch.equal(second(x), expected)
        nn.init.ones_(next(m for m in second.modules() if isinstance(m, nn.BatchNorm2d)).running_var)
        assert not torch.equal(second(x), expected)
