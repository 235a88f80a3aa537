"""Costs counted from traces: beside PyTorch's own counter, the papers' figures, and any kind of module."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from featherlight.cost.count import count_cost
from featherlight.cost.result import Cost, Layer
from featherlight.errors import UsageError
from featherlight.models.registry import create_model, list_models

PUBLISHED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "published_costs.json").read_text(encoding="utf-8")
)
IMAGE = (3, 224, 224)


@cache
def counted(name: str, input_size: int = 224) -> Cost:
    return count_cost(create_model(name), (3, input_size, input_size), name)


def layer(cost: Cost, name: str) -> Layer:
    (found,) = [layer for layer in cost.layers if layer.name == name]
    return found


def pytorch_flops(network: nn.Module, x: Tensor) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(x)
    return {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize("name", list_models())
def test_convolutions_and_linears_are_half_of_pytorchs_flops(name: str) -> None:
    cost, network = counted(name), create_model(name)
    flops = pytorch_flops(network, torch.zeros(1, *IMAGE))
    linears = sum(one.macs for one in cost.layers if one.type == "Linear")
    assert 2 * (cost.macs - linears) == flops["aten.convolution"]
    assert 2 * linears == flops.get("aten.addmm", 0) + flops.get("aten.mm", 0)
    assert 2 * cost.macs == sum(flops.values())
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("row", PUBLISHED["rows"], ids=lambda row: f"{row['network']}-{row['input_size']}")
def test_macs_are_the_published_ones(row: dict[str, Any]) -> None:
    cost = counted(row["network"], row["input_size"])
    macs = cost.macs if row["with_classifier"] else cost.macs_without_classifier
    decimals = len(row["millions"].partition(".")[2])
    assert f"{macs / 1e6:.{decimals}f}" == row["millions"]


def test_mobilenet_v1_spends_where_its_paper_says() -> None:
    cost = counted("mobilenet_v1_x1_0")
    kinds = {"pointwise": "pointwise.0", "depthwise": "depthwise.0", "stem": "conv1.0", "classifier": "fc"}
    weights = {kind: [one for one in cost.layers if one.name.endswith(end)] for kind, end in kinds.items()}
    without_norms = sum(one.params for kind in weights.values() for one in kind)  # as the paper counts
    for quantity, total, rounding in (("macs", cost.macs, 0.005), ("params", without_norms, 0.02)):
        for kind, percent in PUBLISHED["mobilenet_v1_shares"][quantity].items():
            share = 100 * sum(getattr(one, quantity) for one in weights[kind]) / total
            assert share == pytest.approx(percent, abs=rounding), (quantity, kind)


@pytest.mark.parametrize("name", [name for name in PUBLISHED["stages"] if name != "about"])
def test_stages_are_those_of_the_paper(name: str) -> None:
    stages = counted(name).stages
    expected = PUBLISHED["stages"][name]
    assert [[one.name, list(one.output), one.params, one.macs] for one in stages] == expected


def test_layers_of_a_unit_are_what_arithmetic_says() -> None:
    cost = counted("shufflenet_v1_g3_x1_0")
    rows = [
        (one.name.removeprefix("stage3.0."), one.type, one.output, one.params, one.macs, one.activation_bytes)
        for one in cost.layers
        if one.name.startswith("stage3.0.")
    ]
    large, small = (28, 28), (14, 14)
    assert rows == [
        ("squeeze.0", "Conv2d", (120, *large), 240 * 120 // 3, 784 * 240 * 120 // 3, 4 * 120 * 784),
        ("squeeze.1", "BatchNorm2d", (120, *large), 240, 0, 4 * 120 * 784),
        ("squeeze.2", "ReLU", (120, *large), 0, 0, 4 * 120 * 784),
        ("channel_shuffle()", "channel_shuffle", (120, *large), 0, 0, 4 * 120 * 784),
        ("depthwise.0", "Conv2d", (120, *small), 9 * 120, 196 * 9 * 120, 4 * 120 * 196),
        ("depthwise.1", "BatchNorm2d", (120, *small), 240, 0, 4 * 120 * 196),
        ("expand.0", "Conv2d", (240, *small), 120 * 240 // 3, 196 * 120 * 240 // 3, 4 * 240 * 196),
        ("expand.1", "BatchNorm2d", (240, *small), 480, 0, 4 * 240 * 196),
        ("avg_pool2d()", "avg_pool2d", (240, *small), 0, 0, 4 * 240 * 196),
        ("cat()", "cat", (480, *small), 0, 0, 4 * 480 * 196),
        ("relu()", "relu", (480, *small), 0, 0, 4 * 480 * 196),
    ]


def test_intensity_is_macs_for_each_byte_of_input_weights_and_output() -> None:
    convolution = nn.Conv2d(6, 8, 3, padding=1)
    (one,) = count_cost(convolution, (6, 10, 10), "convolution").layers
    moved = 4 * (6 * 100 + 8 * 6 * 9 + 8 + 8 * 100)
    assert (one.name, one.moved_bytes, one.intensity) == ("Conv2d", moved, 100 * 8 * 6 * 9 / moved)


def test_half_precision_halves_the_bytes() -> None:
    network = create_model("shufflenet_v2_x0_5", input_size=32)
    full = count_cost(network, (3, 32, 32), "full")
    half = count_cost(network.bfloat16(), (3, 32, 32), "half")
    assert 2 * half.activation_bytes == full.activation_bytes
    assert half.macs == full.macs


# As torchvision publishes them, in billions, with its weights.
TORCHVISION = {
    "resnet18": (224, 1.814),
    "googlenet": (224, 1.498),
    "mobilenet_v2": (224, 0.301),
    "mnasnet0_5": (224, 0.104),
    "squeezenet1_0": (224, 0.819),
    "densenet121": (224, 2.834),
    "efficientnet_b0": (224, 0.386),
    "swin_t": (224, 4.491),
    "vit_b_32": (224, 4.409),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_cost_what_torchvision_says(name: str) -> None:
    size, billions = TORCHVISION[name]
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, **options)
    cost = count_cost(network, (3, size, size), name)
    assert round(cost.macs / 1e9, 3) == billions
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


def test_meta_and_real_networks_cost_the_same() -> None:
    with torch.device("meta"):
        meta = create_model("mobilenet_v3_small")
    assert count_cost(meta, IMAGE, "mobilenet_v3_small") == counted("mobilenet_v3_small")


def test_heads_that_only_training_uses_stand_last_with_their_parameters() -> None:
    with torch.device("meta"):
        network = torchvision.models.googlenet(weights=None, init_weights=False)
    unused = [one for one in count_cost(network, IMAGE, "googlenet").layers if not one.output]
    assert unused[0] == Layer("aux1.conv.conv", "Conv2d", (), 512 * 128, 0, 0, 0)
    assert {one.name.partition(".")[0] for one in unused} == {"aux1", "aux2"}


class Branching(nn.Module):
    """What symbolic tracing cannot follow: control flow by values, a loop, a layer used twice, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.tied.weight = self.twice.weight
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(2 if float(x.sum()) <= 0 else 3):
            x = F.relu(self.twice(x))
        return (self.tied(x) * self.scale).flatten(1)


def test_control_flow_shared_layers_and_loose_parameters_are_followed() -> None:
    network = Branching()
    nn.init.zeros_(network.first.bias)
    cost = count_cost(network, (3, 8, 8), "branching")
    once = 64 * 4 * 4 * 9
    assert [(one.name, one.type, one.params, one.macs) for one in cost.layers] == [
        ("first", "Conv2d", 4 * 3 * 9 + 4, 64 * 4 * 3 * 9),
        ("sum()", "sum", 0, 0),
        ("twice", "Conv2d", 4 * 4 * 9 + 4, 2 * once),
        ("relu()", "relu", 0, 0),
        ("tied", "Conv2d", 4, once),
        ("mul()", "mul", 4, 0),
    ]
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


def test_functions_and_modules_of_one_name_stay_apart() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.relu(x))

    cost = count_cost(Twice(), (3, 4, 4), "twice")
    assert [(one.name, one.type) for one in cost.layers] == [("relu", "ReLU"), ("relu()", "relu")]


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Conv2d(6, 12, (3, 1), stride=2, dilation=2, groups=3), (6, 9, 9), 3 * 5 * 12 * 2 * 3),
        (nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), (6, 5, 5), 25 * 6 * 2 * 9),
        (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 3)), (3, 4, 4), 14 * 5 * 3 * 3),
        (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 2, 2)), (3, 4, 4), 2 * 3 * 3 * 2 * 8),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 7, bias=False)), (3, 4, 4), 48 * 7),
        (nn.Sequential(nn.Flatten(2), nn.Linear(16, 7)), (3, 4, 4), 3 * 16 * 7),
        (nn.Bilinear(4, 4, 2), None, None),
        (nn.Sequential(nn.Flatten(2), nn.LSTM(16, 5)), (3, 4, 4), 3 * 4 * 5 * (16 + 5)),
        (nn.Sequential(nn.Flatten(2), nn.GRU(16, 5)), (3, 4, 4), 3 * 3 * 5 * (16 + 5)),
    ],
    ids=lambda value: value[-1]._get_name() if isinstance(value, nn.Sequential) else str(value)[:20],
)
def test_formulas(module: nn.Module, shape: tuple[int, int, int] | None, macs: int | None) -> None:
    if shape is None:
        with pytest.raises(UsageError, match="Bilinear does not run on an input of 3x4x4: "):
            count_cost(module, (3, 4, 4), "Bilinear")
        return
    assert count_cost(module, shape, "module").macs == macs


def attention(num_tokens: int, width: int, hidden: int) -> int:
    projections = 4 * num_tokens * width * width
    scores_and_sums = 2 * num_tokens * num_tokens * width
    return projections + scores_and_sums + 2 * num_tokens * width * hidden


@pytest.mark.parametrize("device", ["cpu", "meta"])  # one kernel there, its parts here
def test_attention_costs_what_its_matrices_do(device: str) -> None:
    encoder = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, device=device)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(16, 16, device=device), encoder)
    cost = count_cost(network, (3, 4, 4), "transformer")
    assert cost.macs == 3 * 16 * 16 + attention(3, 16, 32)
    assert layer(cost, "2.self_attn").type == "MultiheadAttention"
    assert layer(cost, "2.self_attn").params == 4 * 16 * 16 + 4 * 16


@pytest.mark.parametrize(
    ("head", "without"),
    [
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9), nn.Hardswish(), nn.Linear(9, 5)), 1728),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5, bias=False), nn.Softmax(1)), 1728),
        (nn.Sequential(nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 1728 + 320),
    ],
)
def test_classifier_is_the_fully_connected_layers_at_the_end(head: nn.Module, without: int) -> None:
    body = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    assert count_cost(nn.Sequential(body, head), (3, 8, 8), "network").macs_without_classifier == without


def test_squeeze_and_excitation_by_linear_layers_is_no_classifier() -> None:
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3), nn.Unflatten(1, (3, 1, 1)))
    network = nn.Sequential(gate, nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    cost = count_cost(network, (3, 8, 8), "network")
    assert (cost.macs, cost.macs_without_classifier) == (9 + 12 + 8, 9 + 12)


def test_network_comes_back_as_it_was() -> None:
    network = create_model("shufflenet_v2_x0_5", input_size=32)
    network.stage3.eval()
    before = copy.deepcopy(network)
    count_cost(network, (3, 32, 32), "network")
    assert [module.training for module in network.modules()] == [module.training for module in before.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    state = before.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


class Preparing(nn.Module):
    """Doubles its weight once for evaluation, and forgets that when training begins, as LeViT does with its biases."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.prepared: Tensor | None = None

    def train(self, mode: bool = True) -> Preparing:
        if mode:
            self.prepared = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.prepared is None:
            self.prepared = 2 * self.weight
        return x * (2 * self.weight if self.prepared is None else self.prepared)


def test_networks_do_not_keep_what_they_prepared_while_counted() -> None:
    network = Preparing()
    count_cost(network, (3, 2, 2), "preparing")
    with torch.no_grad():
        network.weight.fill_(3)
    assert network.eval()(torch.ones(1)).item() == 6


@pytest.mark.slow
def test_compiled_networks_are_counted_as_written() -> None:
    network = create_model("shufflenet_v2_x0_5", input_size=32)
    plain, compiled = (count_cost(one, (3, 32, 32), "a") for one in (network, torch.compile(network)))
    assert (compiled.macs, compiled.params, compiled.activation_bytes) == (
        plain.macs,
        plain.params,
        plain.activation_bytes,
    )


def test_pytorchs_compiler_is_not_imported() -> None:
    count = "import sys, featherlight; featherlight.profile('shufflenet_v2_x0_5', 32)"
    program = f"{count}; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_network_comes_back_as_it_was_after_an_error() -> None:
    network = create_model("shufflenet_v2_x0_5", input_size=32)
    with pytest.raises(UsageError, match=r"small does not run on an input of 4x32x32: .*expected input"):
        count_cost(network, (4, 32, 32), "small")
    assert network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_weights_made_in_inference_mode_are_counted_too() -> None:
    expected = count_cost(create_model("shufflenet_v1_g3_x0_25"), IMAGE, "a")
    with torch.inference_mode():
        network = create_model("shufflenet_v1_g3_x0_25")
        assert count_cost(network, IMAGE, "a") == expected
    assert count_cost(network, IMAGE, "a") == expected


def test_network_without_parameters_has_a_cost() -> None:
    cost = count_cost(nn.Sequential(nn.ReLU(), nn.Flatten()), (3, 4, 4), "relu")
    assert (cost.params, cost.macs, cost.activation_bytes, len(cost.layers)) == (0, 0, 4 * 48, 1)
    assert cost.total.intensity == 0.0
    assert cost.to_rows()[0]["macs_share"] == 0.0
