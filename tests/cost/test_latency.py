from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple

import pytest
import torch

from featherlight.cost.latency import (
    ROUNDS,
    WARM_UP_S,
    check_threads,
    machine_name,
    measure_latencies,
    measure_latency,
    measure_parts,
    summarize,
    torch_threads,
    usable_cores,
)
from featherlight.errors import UsageError


class FakeTime:
    """A clock that only calls move on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def run() -> None:
            self.now += next(seconds)
            self.ran.append(name)

        return run


def forever(*seconds: float) -> Iterator[float]:
    """The times in turn; the last one from then on."""
    yield from seconds
    while True:
        yield seconds[-1]


def without_repeats(names: list[str]) -> list[str]:
    return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]


def test_calls_are_warmed_up_then_timed_forwards_and_backwards_in_turn() -> None:
    clock = FakeTime()
    found = measure_latencies(
        {"fast": clock.call("fast", forever(1 / 64)), "slow": clock.call("slow", forever(1 / 8))}, ROUNDS / 8, clock
    )
    order = without_repeats(clock.ran)
    assert order == ["fast", "slow", "fast", "slow", "fast", "slow", "fast", "slow", "fast"]
    assert clock.ran.count("fast") >= 64 * WARM_UP_S + found["fast"].num_calls
    assert astuple(found["fast"]) == (1000 / 64,) * 4 + (8 * ROUNDS,)
    assert astuple(found["slow"]) == (125,) * 4 + (3 * ROUNDS,)  # three calls a round at least


def test_slow_first_calls_do_not_count() -> None:
    clock = FakeTime()
    found = measure_latencies({"a": clock.call("a", forever(5.0, 0.5, 0.1))}, 1.0, clock)["a"]
    assert found.p95_ms == found.p50_ms == pytest.approx(100)


def test_percentiles_and_spread_of_rounds() -> None:
    rounds = [[0.001, 0.002, 0.003], [0.002, 0.004, 0.009]]
    found = summarize(rounds)
    assert (found.p50_ms, found.low_ms, found.high_ms, found.num_calls) == pytest.approx((2.5, 2, 4, 6))
    assert found.p95_ms == pytest.approx(4 + 0.75 * 5)


def test_garbage_collector_pauses_while_calls_are_timed_and_goes_on_after() -> None:
    enabled = []
    measure_latency(lambda: enabled.append(gc.isenabled()), budget_s=0.001)
    assert enabled[-3 * ROUNDS :] == [False] * 3 * ROUNDS
    assert gc.isenabled()


def test_garbage_collector_goes_on_after_a_call_that_fails() -> None:
    def fail_when_timed() -> None:
        if not gc.isenabled():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        measure_latency(fail_when_timed, budget_s=0.001)
    assert gc.isenabled()


def test_parts_of_a_call_are_summed_up_each_by_itself() -> None:
    found = measure_parts(lambda: {"conv": 0.002, "norm": 0.001}, budget_s=0.001)
    assert (found["conv"].p50_ms, found["norm"].p95_ms) == pytest.approx((2, 1))
    assert found["conv"].num_calls >= 3 * ROUNDS


def test_threads_are_set_and_put_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_more_threads_than_cores_are_refused() -> None:
    check_threads(usable_cores())
    with pytest.raises(UsageError, match=f"cores that this process may use: {usable_cores()}"):
        check_threads(usable_cores() + 1)


def test_machine_has_a_name_with_its_cores() -> None:
    assert f", {usable_cores()} core" in machine_name()


def test_measuring_needs_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; from featherlight.cost.latency import *; print(machine_name())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == machine_name()
