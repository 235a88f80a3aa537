"""Latency of a network and of each of its layers, as PyTorch runs them on this machine's processor."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from featherlight.cost.count import count_cost, layer_name
from featherlight.cost.latency import (
    Latency,
    machine_name,
    measure_latencies,
    measure_parts,
    torch_threads,
)
from featherlight.cost.result import Cost
from featherlight.cost.trace import Tracer, evaluation_mode, zeros_for


@dataclass(frozen=True)
class MeasuredCost:
    """What a network costs, and how long it takes on this machine.

    Attributes:
        cost: as counted.
        machine: processor, cores and system.
        torch: version of PyTorch, which computed.
        networks: latency of the whole network by (images in a batch, threads).
        layers: latency of its layers by name, at the first batch size and number of threads.
    """

    cost: Cost
    machine: str
    torch: str
    networks: dict[tuple[int, int], Latency]
    layers: dict[str, Latency]

    @property
    def layers_at(self) -> tuple[int, int]:
        """Batch and threads of the layers' latencies."""
        return next(iter(self.networks))

    def network_rows(self) -> list[dict[str, Any]]:
        """A row for each batch size and number of threads."""
        return [
            {
                "batch": batch,
                "threads": threads,
                "p50_ms": latency.p50_ms,
                "p95_ms": latency.p95_ms,
                "low_ms": latency.low_ms,
                "high_ms": latency.high_ms,
                "images_per_s": 1000 * batch / latency.p50_ms,
                "num_calls": latency.num_calls,
            }
            for (batch, threads), latency in self.networks.items()
        ]

    def layer_rows(self) -> list[dict[str, Any]]:
        """The cost's rows with latencies and ``gmacs_per_s``; layers that did not run have none."""
        batch, _ = self.layers_at
        return [_with_latency(row, self.layers.get(str(row["name"])), batch) for row in self.cost.to_rows()]

    def to_dict(self) -> dict[str, Any]:
        """What ``profile --latency --format json`` prints: the cost, and ``latency``."""
        batch, threads = self.layers_at
        latency = {
            "machine": self.machine,
            "torch": self.torch,
            "networks": self.network_rows(),
            "layers_batch": batch,
            "layers_threads": threads,
            "layers": [{key: row[key] for key in ("name", "p50_ms", "p95_ms")} for row in self.layer_rows()],
        }
        return {**self.cost.to_dict(), "latency": latency}


class _Stopwatch(Tracer):  # type: ignore[no-untyped-call]
    """Times every operator instead of describing it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.seconds: dict[tuple[str, Any], float] = defaultdict(float)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operator and adds up its time."""
        start = time.perf_counter()
        result = func(*args, **kwargs)
        self.seconds[self.module, func.overloadpacket] += time.perf_counter() - start
        return result


def measure_cost(
    network: nn.Module,
    input_shape: tuple[int, int, int],
    name: str,
    batches: Sequence[int],
    threads: Sequence[int],
    budget_s: float = 2.0,
) -> MeasuredCost:
    """Counts a network and measures it, as a whole and layer by layer.

    Raises:
        UsageError: the network cannot take such images.
    """
    cost = count_cost(network, input_shape, name)
    networks = measure_network(network, input_shape, batches, threads, budget_s)
    layers = measure_layers(network, input_shape, batches[0], threads[0], budget_s)
    return MeasuredCost(cost, machine_name(), str(torch.__version__), networks, layers)


def measure_network(
    network: nn.Module,
    input_shape: tuple[int, int, int],
    batches: Sequence[int],
    threads: Sequence[int],
    budget_s: float = 2.0,
) -> dict[tuple[int, int], Latency]:
    """Measures a network in evaluation mode, channels last, which is how the PyTorch engine runs it.

    Returns:
        The latency by (images in a batch, threads).
    """
    ready = _ready(network)
    found: dict[tuple[int, int], Latency] = {}
    for count in threads:
        calls = {(batch, count): _call(ready, _images(ready, batch, input_shape)) for batch in batches}
        with torch_threads(count):
            found |= measure_latencies(calls, budget_s)
    return {(batch, count): found[batch, count] for batch in batches for count in threads}


def measure_layers(
    network: nn.Module, input_shape: tuple[int, int, int], batch: int, threads: int, budget_s: float = 2.0
) -> dict[str, Latency]:
    """Measures the operators of each layer, by the layer's name in the cost.

    Timing an operator by itself adds a few microseconds to each, so small layers look slower than they are, and the
    layers of a network add up to more than it takes as a whole.
    """
    ready = _ready(network)
    images = _images(ready, batch, input_shape)

    def time_layers() -> dict[str, float]:
        stopwatch = _Stopwatch(ready)
        with evaluation_mode(ready), stopwatch.follow(ready), stopwatch:
            ready(images)
        layers: dict[str, float] = defaultdict(float)
        for (module, operator), seconds in stopwatch.seconds.items():
            layers[layer_name(module, operator, stopwatch.containers, type(network).__name__)] += seconds
        return layers

    with torch_threads(threads):
        return measure_parts(time_layers, budget_s)


def _with_latency(row: dict[str, Any], latency: Latency | None, batch: int) -> dict[str, Any]:
    if latency is None:
        return {**row, "p50_ms": None, "p95_ms": None, "gmacs_per_s": None}
    speed = batch * row["macs"] / latency.p50_ms / 1e6
    return {**row, "p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms, "gmacs_per_s": speed}


def _ready(network: nn.Module) -> nn.Module:
    """A copy in the state in which it predicts."""
    return copy.deepcopy(network).cpu().eval().to(memory_format=torch.channels_last)


def _images(network: nn.Module, batch: int, input_shape: tuple[int, int, int]) -> Tensor:
    random = torch.Generator().manual_seed(0)
    images = zeros_for(network, batch, *input_shape).uniform_(generator=random)
    return images.contiguous(memory_format=torch.channels_last)


def _call(network: nn.Module, images: Tensor) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        return network(images)

    return call
