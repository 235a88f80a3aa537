"""Latency, measured in one way for everything: any callable, whatever the engine behind it.

What is compared is measured together: all calls are warmed up, then timed in several rounds, forwards and backwards in
turn, so that a machine that slows down slows all of them. The garbage collector waits. Nothing here imports torch.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from featherlight.errors import UsageError

Key = TypeVar("Key", bound=Hashable)

ROUNDS = 6  # even: each order is taken as often
WARM_UP_CALLS = 3
WARM_UP_S = 0.2
MAX_CALLS_A_ROUND = 1000


@dataclass(frozen=True)
class Latency:
    """How long one call takes.

    Attributes:
        p50_ms: half of the calls are faster.
        p95_ms: 95 % of the calls are faster.
        low_ms: the lowest of the rounds' medians.
        high_ms: the highest of them; far from ``low_ms``, the machine was not quiet.
        num_calls: calls that were timed.
    """

    p50_ms: float
    p95_ms: float
    low_ms: float
    high_ms: float
    num_calls: int


def measure_latency(call: Callable[[], object], budget_s: float = 2.0) -> Latency:
    """Measures one call alone; see :func:`measure_latencies`."""
    return measure_latencies({"": call}, budget_s)[""]


def measure_latencies(
    calls: Mapping[Key, Callable[[], object]],
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Latency]:
    """Measures calls beside each other.

    Args:
        calls: what to time, by name. A call must not return before its work is done.
        budget_s: seconds to spend on each, about; a slow call is timed three times a round at least.
        clock: gives the time in seconds.
    """
    counts = {key: _calls_a_round(_warm_up(call, clock), budget_s) for key, call in calls.items()}
    rounds: dict[Key, list[list[float]]] = {key: [] for key in calls}
    with garbage_collector_paused():
        for key in alternating(list(calls)):
            rounds[key].append([timed(calls[key], clock) for _ in range(counts[key])])
    return {key: summarize(samples) for key, samples in rounds.items()}


def measure_parts(call: Callable[[], Mapping[Key, float]], budget_s: float = 2.0) -> dict[Key, Latency]:
    """Measures a call that times its parts itself and returns the seconds of each."""
    count = _calls_a_round(_warm_up(call, time.perf_counter), budget_s)
    with garbage_collector_paused():
        rounds = [[call() for _ in range(count)] for _ in range(ROUNDS)]
    return {key: summarize([[parts[key] for parts in samples] for samples in rounds]) for key in rounds[0][0]}


def alternating(keys: Sequence[Key]) -> Iterator[Key]:
    """Every key once a round: forwards in one round, backwards in the next."""
    for number in range(ROUNDS):
        yield from reversed(keys) if number % 2 else keys


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that one call takes."""
    start = clock()
    call()
    return clock() - start


def summarize(rounds: Sequence[Sequence[float]]) -> Latency:
    """Seconds, round by round, to a latency in milliseconds."""
    times = [1000 * seconds for samples in rounds for seconds in samples]
    medians = [1000 * median(samples) for samples in rounds]
    p50, p95 = np.percentile(times, [50, 95])
    return Latency(float(p50), float(p95), min(medians), max(medians), len(times))


@contextmanager
def garbage_collector_paused() -> Iterator[None]:
    """Collects now, and not before the end."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets PyTorch compute with ``count`` threads. Other engines take the number when they open a model."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_threads(count: int) -> None:
    """Refuses what cannot be measured here.

    Raises:
        UsageError: there are fewer cores.
    """
    if count > usable_cores():
        raise UsageError(f"{count} threads cannot be measured here; cores that this process may use: {usable_cores()}")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_name() -> str:
    """What computes here: processor or board, cores, operating system."""
    system = f"{platform.system()} {platform.machine()}"
    cores = usable_cores()
    return f"{_processor() or 'unknown processor'}, {cores} {'core' if cores == 1 else 'cores'}, {system}"


def _processor() -> str:
    board = Path("/proc/device-tree/model")  # what a small board calls itself
    if board.is_file():
        return board.read_text(errors="replace").strip("\0\n ")
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _warm_up(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Calls until the first, slow calls are over; gives the seconds of a typical one."""
    start, times = clock(), list[float]()
    while len(times) < WARM_UP_CALLS or clock() - start < WARM_UP_S:
        times.append(timed(call, clock))
    return median(times)


def _calls_a_round(seconds: float, budget_s: float) -> int:
    return max(3, min(MAX_CALLS_A_ROUND, int(budget_s / ROUNDS / max(seconds, 1e-9))))
