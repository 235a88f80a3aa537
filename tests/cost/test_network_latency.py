"""What is measured and where it is shown; never how fast it is."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from featherlight.cost.latency import machine_name
from featherlight.cost.network_latency import measure_cost, measure_layers, measure_network
from featherlight.models.registry import create_model

SHORT = 0.001  # seconds


class Watched(nn.Module):
    """Notes how it is run."""

    seen: ClassVar[set[tuple[int, int, bool, bool, bool]]] = set()  # survives copies

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        is_channels_last = x.is_contiguous(memory_format=torch.channels_last)
        self.seen.add((len(x), torch.get_num_threads(), self.training, torch.is_grad_enabled(), is_channels_last))
        return torch.relu(self.dropout(self.conv(x)))


def test_network_runs_in_evaluation_without_gradients_at_each_batch_and_thread_count() -> None:
    network = Watched()
    Watched.seen.clear()
    found = measure_network(network, (3, 8, 8), [1, 4], [1, 2], SHORT)
    assert list(found) == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert Watched.seen == {(batch, threads, False, False, True) for batch in (1, 4) for threads in (1, 2)}
    assert network.training


def test_layers_have_the_names_of_the_cost() -> None:
    network = create_model("shufflenet_v1_g3_x0_25", input_size=32)
    before = copy.deepcopy(network.state_dict())
    measured = measure_cost(network, (3, 32, 32), "small", [2], [1], SHORT)
    names = {layer.name for layer in measured.cost.layers}
    assert names <= set(measured.layers)
    assert "stage2.0.channel_shuffle()" in names
    assert all(latency.p50_ms > 0 for latency in measured.layers.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_leaf_networks_have_one_layer() -> None:
    assert list(measure_layers(nn.Conv2d(3, 4, 3), (3, 8, 8), 1, 1, SHORT)) == ["Conv2d"]


def test_rows_stand_beside_the_macs() -> None:
    measured = measure_cost(Watched(), (3, 8, 8), "watched", [4, 1], [1], SHORT)
    assert measured.layers_at == (4, 1)
    conv, relu = measured.layer_rows()
    assert (conv["name"], conv["macs"], relu["name"], relu["gmacs_per_s"]) == ("conv", 36 * 4 * 27, "relu()", 0)
    assert conv["gmacs_per_s"] == pytest.approx(4 * conv["macs"] / conv["p50_ms"] / 1e6)
    four, one = measured.network_rows()
    assert (four["batch"], one["batch"], four["threads"]) == (4, 1, 1)
    assert four["images_per_s"] == pytest.approx(4000 / four["p50_ms"])
    assert four["low_ms"] <= four["p50_ms"] <= four["high_ms"]


def test_layers_that_do_not_run_have_no_latency() -> None:
    network = Watched()
    network.head = nn.Linear(2, 2)
    *_, head = measure_cost(network, (3, 8, 8), "watched", [1], [1], SHORT).layer_rows()
    assert (head["name"], head["params"], head["p50_ms"], head["gmacs_per_s"]) == ("head", 6, None, None)


def test_json_adds_latency_to_the_cost() -> None:
    measured = measure_cost(Watched(), (3, 8, 8), "watched", [1], [1], SHORT)
    everything = measured.to_dict()
    latency = everything.pop("latency")
    assert everything == measured.cost.to_dict()
    assert (latency["machine"], latency["layers_batch"], latency["layers_threads"]) == (machine_name(), 1, 1)
    assert latency["networks"] == measured.network_rows()
    assert [layer["name"] for layer in latency["layers"]] == ["conv", "relu()"]
