"""A reliability diagram: what the model said against how often it was right (DeGroot and Fienberg 1983)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from featherlight.report.bars import Bar, bars_svg
from featherlight.report.rendering import percent
from featherlight.report.texts import Texts

Bins = Sequence[Mapping[str, Any]]  # low, high, count, confidence, accuracy of each

FEW_IMAGES = 10  # in a bin; of fewer the accuracy says little

_WIDTH, _HEIGHT = 340, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 330, 10, 266
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reliability_svg(reliability: Mapping[str, Any], say: Texts) -> str:
    """The diagram, and how many images there are of each confidence, as HTML figures with inline SVG.

    Args:
        reliability: the field of ``evaluation.json``; without ``bins_before`` there is no curve of before.
        say: the texts.
    """
    after: Bins = reliability["bins"]
    before: Bins = reliability.get("bins_before") or ()
    changed = [entry["accuracy"] for entry in before] != [entry["accuracy"] for entry in after]
    return _diagram(after, before if changed else (), say) + bars_svg(
        say("How sure it is"),
        [Bar(f"{entry['high']:.0%}", entry["count"], _range(entry)) for entry in after],
        say("probability of its answer, up to"),
    )


def _diagram(after: Bins, before: Bins, say: Texts) -> str:
    title = say("How often it is right")
    key = f'<span class="key train">{escape(say("before"))}</span>' if before else ""
    summary = "; ".join(_words(entry, say) for entry in after if entry["count"])
    columns = "".join(_column(entry, say) for entry in after if entry["count"])
    return (
        f'<figure class="chart"><figcaption>{escape(title)}'
        f'<span class="key pale">{escape(say("measured"))}</span>{key}'
        f'<span class="key ideal">{escape(say("as it should be"))}</span></figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}. {summary}")}">\n'
        f'{_axes(say)}{columns}<path class="ideal" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>{_line(before)}'
        "\n</svg></figure>\n"
    )


def _axes(say: Texts) -> str:
    rows = [
        f'<path class="grid" d="M{_LEFT} {_y(tick)}H{_RIGHT}"/>'
        f'<text x="{_LEFT - 7}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>'
        f'<text x="{_x(tick)}" y="{_BOTTOM + 16}" text-anchor="middle">{tick:.0%}</text>'
        for tick in _TICKS
    ]
    below = f'<text x="{_x(0.5)}" y="{_BOTTOM + 32}" text-anchor="middle">{escape(say("probability it gave"))}</text>'
    return "".join(rows) + below


def _column(entry: Mapping[str, Any], say: Texts) -> str:
    left, right, top = _x(entry["low"]), _x(entry["high"]), _y(entry["accuracy"])
    depth = "pale" if entry["count"] >= FEW_IMAGES else "pale few"
    return (
        f'<rect class="column {depth}" x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" '
        f'height="{max(1.5, _BOTTOM - top):.1f}"><title>{escape(_words(entry, say))}</title></rect>'
    )


def _line(bins: Bins) -> str:
    points = [(_x(entry["confidence"]), _y(entry["accuracy"])) for entry in bins if entry["count"]]
    if not points:
        return ""
    dots = "".join(f'<circle class="dot train" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    return f'<path class="line train" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>{dots}'


def _words(entry: Mapping[str, Any], say: Texts) -> str:
    return say(
        "{range}: right {accuracy}, {images}",
        range=_range(entry),
        accuracy=percent(entry["accuracy"]),
        images=say.count(entry["count"], "image"),
    )


def _range(entry: Mapping[str, Any]) -> str:
    return f"{entry['low']:.0%}–{entry['high']:.0%}"


def _x(probability: float) -> float:
    return round(_LEFT + probability * (_RIGHT - _LEFT), 1)


def _y(accuracy: float) -> float:
    return round(_BOTTOM - accuracy * (_BOTTOM - _TOP), 1)
