"""The answer of a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from featherlight.comparison.result import ComparedModel, Pair


def explain_comparison(models: Sequence[ComparedModel], pairs: Sequence[Pair]) -> str:
    """The answer in one sentence."""
    best = min(models, key=lambda model: (-model.accuracy, model.latency_ms or 0, model.size_bytes))
    others = {model.name: model for model in models if model is not best}
    against = [(others[name], pair) for name, pair in _pairs_of(best.name, pairs)]
    if len(models) == 2:
        return _two(best, *against[0])
    beaten = [other.name for other, pair in against if pair.real]
    equals = [(other, pair) for other, pair in against if not pair.real]
    parts = [f"{best.name} is the most accurate, {_percent(best.accuracy)}"]
    if beaten:
        parts.append(f"and really better than {_join(beaten)}")
    text = ", ".join(parts)
    if not equals:
        return f"{text}."
    cheapest = min((other for other, _ in equals), key=_cost)
    told = _join([f"{other.name}, {_behind(best, pair)}" for other, pair in equals])
    choice = f"; of these {_costs(cheapest, best)}" if _cost(cheapest) < _cost(best) else ""
    return f"{text}; it cannot be told apart from {told}{choice}."


def _two(best: ComparedModel, other: ComparedModel, pair: Pair) -> str:
    if pair.disagreements == 0:
        return f"{best.name} and {other.name} name every image alike; {_costs(best, other)}."
    if pair.real:
        return f"{best.name} is better than {other.name} by {_gap(best, pair)}; {_costs(best, other)}."
    if pair.difference == 0:
        return f"{best.name} and {other.name} are right equally often; {_costs(best, other)}."
    cheap, dear = sorted((best, other), key=_cost)
    return (
        f"No real difference: {best.name} is ahead of {other.name} by {_gap(best, pair)}, which may be luck; "
        f"{_costs(cheap, dear)}."
    )


def _pairs_of(name: str, pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """The pairs in which a model is, each with the other's name."""
    return [
        (pair.second if pair.first == name else pair.first, pair) for pair in pairs if name in (pair.first, pair.second)
    ]


def _gap(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points (0.4 to 2.0), p = 0.003``, as seen from the better one."""
    points, interval = _seen_from(best, pair)
    return f"{points} ({interval}), {p_text(pair.p_corrected)}"


def _behind(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points behind (0.4 to 2.0, p = 0.003)``."""
    points, interval = _seen_from(best, pair)
    return f"{points} behind ({interval}, {p_text(pair.p_corrected)})"


def _seen_from(best: ComparedModel, pair: Pair) -> tuple[str, str]:
    sign = 1 if pair.second == best.name else -1
    low, high = sorted(100 * sign * end for end in pair.interval)
    return f"{100 * sign * pair.difference:.1f} points", f"{low:.1f} to {high:.1f}"


def p_text(p: float) -> str:
    """``p = 0.03``, ``p < 0.0001``."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def _cost(model: ComparedModel) -> float:
    return model.latency_ms if model.latency_ms is not None else float(model.size_bytes)


def _costs(model: ComparedModel, other: ComparedModel) -> str:
    """What one costs in comparison with the other."""
    parts = []
    if model.latency_ms is not None and other.latency_ms is not None:
        parts.append(f"{_times(model.latency_ms / other.latency_ms)} the latency")
    parts.append(f"{_times(model.size_bytes / max(1, other.size_bytes))} the size")
    return f"{model.name} has {' and '.join(parts)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
