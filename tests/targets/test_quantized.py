from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.targets.quantized import Damage, Held, Quantized, hold_accuracy

NAMES = [f"layer{k}" for k in range(20)]
DAMAGES = [Damage(name, 1.0 / (1 + k), 0.01) for k, name in enumerate(NAMES)]


@dataclass(frozen=True)
class Answer:
    passed: bool


class Bench:
    """A file whose gate holds once enough of the most harmful layers are in float."""

    def __init__(self, needed: int) -> None:
        self.needed, self.on_disk, self.asked = needed, frozenset[str](), 0

    def quantize(self, kept: Collection[str]) -> Quantized:
        self.on_disk = frozenset(kept)
        layers = tuple(name for name in NAMES if name not in kept)
        return Quantized(Path("x"), "minmax", layers, tuple(kept), (), 4000, 1000 + 100 * len(kept))

    def gate(self, _: Path) -> Answer:
        return Answer(set(NAMES[: self.needed]) <= self.on_disk)

    def damages(self) -> list[Damage]:
        self.asked += 1
        return DAMAGES

    def hold(self) -> Held:
        return hold_accuracy(self.quantize, self.gate, self.damages, lambda _: 1.0 + len(self.on_disk))


@given(st.integers(0, len(NAMES) - 1))
def test_fewest_harmful_layers_stay_float_and_the_file_is_the_chosen_one(needed: int) -> None:
    bench = Bench(needed)
    held = bench.hold()
    assert held.chosen is not None
    assert held.chosen.quantized.kept_float == tuple(NAMES[:needed])
    assert bench.on_disk == set(NAMES[:needed])
    assert len(held.attempts) <= 12


def test_sensitivity_is_not_computed_when_all_layers_pass() -> None:
    bench = Bench(0)
    assert bench.hold().explain() == ["int8 in all 20 layers"]
    assert bench.asked == 0


def test_person_sees_which_layers_and_what_they_cost() -> None:
    lines = Bench(2).hold().explain()
    assert lines[0].startswith("2 of 20 layers stay in float")
    assert "layer0: error 1" in lines[1]
    assert "size 1,200 bytes, 1,000 with all in int8" in lines
    assert "latency 3.00 ms, 1.00 with all in int8" in lines


def test_hopeless_network_is_sent_to_fine_tuning() -> None:
    held = Bench(len(NAMES)).hold()
    assert held.chosen is None
    assert "--quantize-aware" in held.explain()[0]


@pytest.mark.parametrize("layers", [1])
def test_network_of_one_layer_fails_at_once(layers: int) -> None:
    bench = Bench(len(NAMES))
    held = hold_accuracy(bench.quantize, bench.gate, lambda: DAMAGES[:layers])
    assert held.chosen is None
    assert len(held.attempts) == 1
