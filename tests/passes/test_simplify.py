"""Whole networks, and networks that no graph holds."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from comparing import assert_same, randomised
from pytorchcv.model_provider import get_model
from torch import Tensor, nn

from featherlight.errors import UsageError
from featherlight.models.registry import create_model, list_models
from featherlight.passes import KEPT, explain, simplify, simplify_forms
from featherlight.passes.graph import count_operators

QUICK = ("shufflenet_v1_g3_x0_25", "mobilenet_v3_small")


def check(network: nn.Module, size: int = 64, form: str = "pieces") -> dict[str, int]:
    network = randomised(network)
    result = simplify(network, torch.zeros(1, 3, size, size), form=form, dtype=torch.float64)
    assert result.problem is None
    assert_same(result.module, network, torch.randn(2, 3, size, size))
    counts = count_operators(result.module)
    assert not {"batch_norm", "dropout", "channel_shuffle", "transpose"} & set(counts)
    return counts


@pytest.mark.parametrize("name", QUICK)
def test_our_networks_compute_the_same(name: str) -> None:
    check(create_model(name, num_classes=10))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_models() if name not in QUICK])
def test_every_network_of_ours_computes_the_same(name: str) -> None:
    check(create_model(name, num_classes=10))


def test_torchvisions_shufflenet_v2_computes_the_same() -> None:
    counts = check(torchvision.models.shufflenet_v2_x0_5())
    assert counts["conv2d"] == 56
    assert counts["cat"] == counts["split_with_sizes"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"])
def test_torchvisions_other_shufflenets_compute_the_same(name: str) -> None:
    check(getattr(torchvision.models, name)())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_g3_wd4", "shufflenetv2_wd2", "shufflenetv2b_wd2", "menet108_8x1_g3"])
def test_pytorchcvs_shufflenets_compute_the_same(name: str) -> None:
    torch.manual_seed(0)  # fresh weights may be so ill-conditioned that rounding in float64 shows
    check(get_model(name), size=224)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenetv1_100", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small"]
)
def test_timms_mobilenets_compute_the_same(name: str) -> None:
    check(create_model(f"timm/{name}"))


def test_the_network_itself_stays_as_it_is() -> None:
    network = create_model("shufflenet_v2_x0_5", num_classes=5, input_size=32).train()
    before = copy.deepcopy(network.state_dict())
    simplify(network, torch.zeros(1, 3, 32, 32))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_float32_results_differ_by_rounding_only() -> None:
    network = randomised(create_model("shufflenet_v2_x0_5", num_classes=5, input_size=32))
    x = torch.randn(4, 3, 32, 32)
    logits = network(x)
    result = simplify(network, x)
    assert result.form == "slices"
    assert (result.module(x) - logits).abs().max() <= 1e-5 * logits.abs().max()


class ValueFlow(nn.Module):
    """A branch that depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoOutputs(nn.Module):
    """More than logits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x + 1


class BatchFlow(nn.Module):
    """Does something else for a single image."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if len(x) == 1 else x


class FixedBatch(nn.Module):
    """Only knows batches of two."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3, -1).relu().reshape(x.shape)


@pytest.mark.parametrize("network", [ValueFlow(), TwoOutputs(), BatchFlow(), FixedBatch()])
def test_what_no_graph_holds_stays_as_it_is_and_says_so(network: nn.Module) -> None:
    result = simplify(network, torch.zeros(1, 3, 4, 4))
    assert result.form == KEPT
    assert result.problem
    (line,) = explain(result)
    assert line.startswith("No pass ran: the network cannot be traced")
    x = -torch.ones(2, 3, 4, 4)
    assert torch.equal(result.module(x)[0], network(x)[0])


class InPlace(nn.Module):
    """Writes into a view of its input, which is read again."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        left = x[:, :1]
        left.relu_()
        return x + left


def test_writing_in_place_keeps_its_meaning() -> None:
    network = InPlace()
    result = simplify(network, torch.zeros(2, 3, 4, 4), dtype=torch.float64)
    assert_same(result.module, network, torch.randn(2, 3, 4, 4))


def test_each_graph_comes_once_when_forms_are_compared() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert list(simplify_forms(network, torch.zeros(1, 3, 4, 4))) == [KEPT]


def test_explain_tells_passes_reasons_and_counts() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ChannelShuffle(2))
    text = "\n".join(explain(simplify(randomised(network), torch.zeros(1, 3, 8, 8))))
    assert "fold_batch_norm: 1 place\n  left alone: a norm in front of a padded convolution" in text
    assert "eliminate_channel_shuffle: 1 place" in text
    assert "operators: 4 before, 2 after\n  batch_norm: 2 -> 1\n  channel_shuffle: 1 -> 0" in text


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UsageError, match="no form named 'best'; these exist: shuffle, gather"):
        simplify(nn.ReLU(), torch.zeros(1, 3, 4, 4), form="best")
    with pytest.raises(UsageError, match="no pass named 'magic'"):
        simplify(nn.ReLU(), torch.zeros(1, 3, 4, 4), passes=["magic"])
