"""Accuracy as images get worse: a line a kind of corruption, and a table of the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from featherlight.report.curves import round_ticks
from featherlight.report.facts import NumberTable
from featherlight.report.rendering import percent
from featherlight.report.texts import Texts

_WIDTH, _HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 326, 10, 176


def robustness_svg(corruptions: Mapping[str, Any], say: Texts) -> str:
    """Six lines from the images as they are to the worst, as an HTML figure with inline SVG.

    Args:
        corruptions: the field of ``evaluation.json``.
        say: the texts.
    """
    lines = {kind: [corruptions["top1"], *shares] for kind, shares in corruptions["accuracy"].items()}
    lowest = min(min(shares) for shares in lines.values())
    ticks = round_ticks(min(lowest, 0.9), 1.0)
    keys = "".join(f'<span class="key s{k}">{escape(say.name(kind))}</span>' for k, kind in enumerate(lines))
    drawn = "".join(_line(k, shares, ticks) for k, shares in enumerate(lines.values()))
    title = say("Accuracy as images get worse")
    summary = ", ".join(f"{say.name(kind)} {percent(shares[-1])}" for kind, shares in lines.items())
    label = say("{title}. At the greatest strength: {summary}.", title=title, summary=summary)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{keys}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f"{_axes(ticks, len(next(iter(lines.values()))), say)}{drawn}\n</svg></figure>"
    )


def robustness_table(corruptions: Mapping[str, Any], say: Texts) -> NumberTable:
    """The accuracies, and their mean of each kind."""
    strengths = [str(k + 1) for k in range(len(next(iter(corruptions["accuracy"].values()))))]
    rows = [
        [say.name(kind), *(percent(share) for share in shares), percent(corruptions["mean_of"][kind])]
        for kind, shares in corruptions["accuracy"].items()
    ]
    title = say("Accuracy as images get worse")
    return NumberTable(title, [say("Corruption"), *strengths, say("mean")], rows)


def _axes(ticks: Sequence[float], count: int, say: Texts) -> str:
    rows = [
        f'<path class="grid" d="M{_LEFT} {_y(tick, ticks)}H{_RIGHT}"/>'
        f'<text x="{_LEFT - 7}" y="{_y(tick, ticks) + 4:.1f}" text-anchor="end">{100 * tick:.4g}%</text>'
        for tick in ticks
    ]
    places = [
        f'<text x="{_x(k, count):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{k or escape(say("none"))}</text>'
        for k in range(count)
    ]
    below = f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 32}" text-anchor="middle">{escape(say("strength"))}</text>'
    return "".join([*rows, *places, below])


def _line(number: int, shares: Sequence[float], ticks: Sequence[float]) -> str:
    points = "L".join(f"{_x(k, len(shares)):.1f} {_y(share, ticks)}" for k, share in enumerate(shares))
    return f'<path class="line s{number}" d="M{points}"/>'


def _x(strength: int, count: int) -> float:
    return _LEFT + 10 + strength / max(1, count - 1) * (_RIGHT - _LEFT - 20)


def _y(share: float, ticks: Sequence[float]) -> float:
    return round(_BOTTOM - (share - ticks[0]) / (ticks[-1] - ticks[0]) * (_BOTTOM - _TOP), 1)
