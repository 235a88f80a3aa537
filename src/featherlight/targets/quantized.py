"""What every way of quantising shares: its result, and the loop that keeps the most harmful layers in float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Method = Literal["minmax", "percentile", "entropy"]


@dataclass(frozen=True)
class Quantized:
    """A quantised network on disk.

    Attributes:
        path: the file.
        method: how activation ranges were chosen; ``learnt`` where fine-tuning chose them.
        layers: names of the convolutions and linear layers that compute in int8.
        kept_float: those that were left in float on purpose.
        unfused: those that were quantised, but that the runtime still computes in float.
        float_bytes: size before.
        size_bytes: size now.
    """

    path: Path
    method: str
    layers: tuple[str, ...]
    kept_float: tuple[str, ...]
    unfused: tuple[str, ...]
    float_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Damage:
    """What quantising one layer does to the logits.

    Attributes:
        layer: its name.
        error: mean squared difference of the logits, as a part of their variance.
        changed: share of the images whose best class changes.
    """

    layer: str
    error: float
    changed: float


class Verdict(Protocol):
    """What the gate says; ``featherlight.verification.Verification`` is one."""

    @property
    def passed(self) -> bool:
        """Whether the file may be used."""
        ...


@dataclass(frozen=True)
class Attempt:
    """One try of the loop.

    Attributes:
        quantized: what was made.
        verdict: what the gate said of it.
        latency_ms: of one image, where it was measured.
    """

    quantized: Quantized
    verdict: Verdict
    latency_ms: float | None = None


@dataclass(frozen=True)
class Held:
    """The end of the loop.

    Attributes:
        attempts: in the order in which they were made.
        chosen: the one that keeps fewest layers in float and passes; None: not even with all but one layer in float.
        damages: of the layers, most harmful first; empty when the first attempt passed.
    """

    attempts: tuple[Attempt, ...]
    chosen: Attempt | None
    damages: tuple[Damage, ...]

    def explain(self) -> list[str]:
        """What the person should know: which layers stay in float, and what that costs."""
        first, chosen = self.attempts[0], self.chosen
        if chosen is None:
            return [
                "int8 does not hold the accuracy, however many layers stay in float; "
                "fine-tune with: featherlight train --quantize-aware MODEL"
            ]
        if chosen is first:
            return [f"int8 in all {len(first.quantized.layers)} layers"]
        kept = chosen.quantized.kept_float
        damage = {row.layer: row for row in self.damages}
        lines = [f"{len(kept)} of {len(damage)} layers stay in float, the most harmful ones:"]
        lines += [
            f"  {name}: error {damage[name].error:.2g}, best class changed {damage[name].changed:.1%}" for name in kept
        ]
        lines.append(f"size {chosen.quantized.size_bytes:,} bytes, {first.quantized.size_bytes:,} with all in int8")
        if first.latency_ms is not None and chosen.latency_ms is not None:
            lines.append(f"latency {chosen.latency_ms:.2f} ms, {first.latency_ms:.2f} with all in int8")
        return lines


def hold_accuracy(
    quantize: Callable[[Collection[str]], Quantized],
    gate: Callable[[Path], Verdict],
    damages: Callable[[], Sequence[Damage]],
    latency: Callable[[Path], float] | None = None,
) -> Held:
    """Keeps the most harmful layers in float, as few as possible, until the gate holds.

    The number of layers is doubled until the gate holds, then halved back to the smallest that does: a handful of
    attempts, not one for each layer.

    Args:
        quantize: makes the file with these layers left in float; each call may write over the last.
        gate: judges the file.
        damages: of each layer, most harmful first; asked only when the first attempt fails.
        latency: milliseconds of one image, to tell what floating layers cost.
    """
    attempts: list[Attempt] = []

    def attempt(kept: Collection[str]) -> Attempt:
        quantized = quantize(kept)
        verdict = gate(quantized.path)
        time_ms = latency(quantized.path) if latency is not None else None
        attempts.append(Attempt(quantized, verdict, time_ms))
        return attempts[-1]

    if attempt(()).verdict.passed:
        return Held(tuple(attempts), attempts[0], ())
    order = sorted(damages(), key=lambda row: -row.error)
    names = [row.layer for row in order]
    best = _fewest(lambda count: attempt(names[:count]), len(names) - 1)
    if best is not None and attempts[-1] is not best:  # the file on disk is the last attempt's
        best = attempt(best.quantized.kept_float)
    return Held(tuple(attempts), best, tuple(order))


def _fewest(attempt: Callable[[int], Attempt], most: int) -> Attempt | None:
    """Doubles, then bisects: the attempt with the smallest count that passes."""
    failed, count, best = 0, 1, None
    while best is None:
        count = min(count, most)
        if count <= failed:
            return None
        tried = attempt(count)
        if tried.verdict.passed:
            best = tried
        else:
            failed, count = count, 2 * count
    while count - failed > 1:
        middle = (failed + count) // 2
        tried = attempt(middle)
        if tried.verdict.passed:
            best, count = tried, middle
        else:
            failed = middle
    return best
