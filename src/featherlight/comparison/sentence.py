"""The answer of a comparison in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from featherlight.comparison.result import ComparedModel, Pair
from featherlight.phrases import joined, phrase


def explain_comparison(models: Sequence[ComparedModel], pairs: Sequence[Pair]) -> str:
    """The answer in one sentence."""
    best = min(models, key=lambda model: (-model.accuracy, model.latency_ms or 0, model.size_bytes))
    others = {model.name: model for model in models if model is not best}
    against = [(others[name], pair) for name, pair in _pairs_of(best.name, pairs)]
    if len(models) == 2:
        return _two(best, *against[0])
    text = phrase("{best} is the most accurate, {accuracy}", best=best.name, accuracy=_percent(best.accuracy))
    if beaten := [other.name for other, pair in against if pair.real]:
        text = phrase("{text}, and really better than {others}", text=text, others=joined(beaten))
    equals = [(other, pair) for other, pair in against if not pair.real]
    if not equals:
        return phrase("{text}.", text=text)
    cheapest = min((other for other, _ in equals), key=_cost)
    told = joined(
        [phrase("{name}, {behind}", name=other.name, behind=_behind(best, pair)) for other, pair in equals],
    )
    text = phrase("{text}; it cannot be told apart from {others}", text=text, others=told)
    if _cost(cheapest) < _cost(best):
        return phrase("{text}; of these {costs}.", text=text, costs=_costs(cheapest, best))
    return phrase("{text}.", text=text)


def _two(best: ComparedModel, other: ComparedModel, pair: Pair) -> str:
    names = {"best": best.name, "other": other.name}
    if pair.disagreements == 0:
        return phrase("{best} and {other} name every image alike; {costs}.", costs=_costs(best, other), **names)
    if pair.real:
        return phrase("{best} is better than {other} by {gap}; {costs}.", gap=_gap(best, pair),
                      costs=_costs(best, other), **names)  # fmt: skip
    if pair.difference == 0:
        return phrase("{best} and {other} are right equally often; {costs}.", costs=_costs(best, other), **names)
    return phrase(
        "No real difference: {best} is ahead of {other} by {gap}, which may be luck; {costs}.",
        gap=_gap(best, pair), costs=_costs(*sorted((best, other), key=_cost)), **names,
    )  # fmt: skip


def _pairs_of(name: str, pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """The pairs in which a model is, each with the other's name."""
    return [
        (pair.second if pair.first == name else pair.first, pair) for pair in pairs if name in (pair.first, pair.second)
    ]


def _gap(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points (0.4 to 2.0), p = 0.003``, as seen from the better one."""
    points, low, high = _seen_from(best, pair)
    return phrase(
        "{points} points ({low} to {high}), {p}", points=points, low=low, high=high, p=p_text(pair.p_corrected)
    )


def _behind(best: ComparedModel, pair: Pair) -> str:
    """``1.2 points behind (0.4 to 2.0, p = 0.003)``."""
    points, low, high = _seen_from(best, pair)
    return phrase(
        "{points} points behind ({low} to {high}, {p})", points=points, low=low, high=high, p=p_text(pair.p_corrected)
    )


def _seen_from(best: ComparedModel, pair: Pair) -> tuple[str, str, str]:
    """The difference and the ends of its interval, in points."""
    sign = 1 if pair.second == best.name else -1
    low, high = sorted(100 * sign * end for end in pair.interval)
    return f"{100 * sign * pair.difference:.1f}", f"{low:.1f}", f"{high:.1f}"


def p_text(p: float) -> str:
    """``p = 0.03``, ``p < 0.0001``."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def _cost(model: ComparedModel) -> float:
    return model.latency_ms if model.latency_ms is not None else float(model.size_bytes)


def _costs(model: ComparedModel, other: ComparedModel) -> str:
    """What one costs in comparison with the other."""
    size = _times(model.size_bytes / max(1, other.size_bytes))
    if model.latency_ms is None or other.latency_ms is None:
        return phrase("{name} has {size} size", name=model.name, size=size)
    latency = _times(model.latency_ms / other.latency_ms)
    return phrase("{name} has {latency} latency and {size} size", name=model.name, latency=latency, size=size)


def _times(ratio: float) -> str:
    """``2x the``, ``8% of the``."""
    if ratio < 1:
        return phrase("{share}% of the", share=f"{100 * ratio:.2g}")
    return phrase("{times}x the", times=f"{ratio:.2g}")


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}"
