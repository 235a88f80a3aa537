"""Counts as bars: HTML figures with inline SVG, coloured by the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from featherlight.report.curves import round_ticks

_WIDTH, _HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 336, 10, 176
_MAX_LABELS = 8
_LETTER = 6  # about the width of one, pixels


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: stands under it, if there is room.
        count: its height.
        what: what is counted, for its tooltip: ``32 to 47 px``.
    """

    label: str
    count: int
    what: str = ""


def bars_svg(title: str, bars: Sequence[Bar], axis: str = "") -> str:
    """A figure of bars side by side; "" without bars.

    Args:
        title: what is counted.
        bars: from left to right.
        axis: what their labels mean.
    """
    if not bars:
        return ""
    ticks = [tick for tick in round_ticks(0, max(1, *(bar.count for bar in bars))) if tick == int(tick)]
    width = (_RIGHT - _LEFT) / len(bars)
    every = -(-len(bars) * _label_width(bars) // (_RIGHT - _LEFT))
    drawn = [_bar(bar, _LEFT + number * width, width, ticks[-1]) for number, bar in enumerate(bars)]
    labels = [
        _text(_LEFT + (number + 0.5) * width, _BOTTOM + 16, bar.label, "middle")
        for number, bar in enumerate(bars)
        if number % every == 0
    ]
    summary = ", ".join(f"{_name(bar)}: {bar.count:,}" for bar in bars if bar.count)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}. {summary}")}">\n'
        + "".join(map(str, (*_grid(ticks), *drawn, *labels)))
        + (_text((_LEFT + _RIGHT) / 2, _BOTTOM + 32, axis, "middle") if axis else "")
        + "\n</svg></figure>"
    )


def _label_width(bars: Sequence[Bar]) -> int:
    longest = max(len(bar.label) for bar in bars)
    return max((longest + 1) * _LETTER, (_RIGHT - _LEFT) // _MAX_LABELS)


def _grid(ticks: Sequence[float]) -> list[str]:
    rows = []
    for tick in ticks:
        y = _BOTTOM - tick / ticks[-1] * (_BOTTOM - _TOP)
        rows.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        rows.append(_text(_LEFT - 7, y + 4, _short(tick), "end"))
    return rows


def _bar(bar: Bar, left: float, width: float, highest: float) -> str:
    height = bar.count / highest * (_BOTTOM - _TOP)
    if bar.count:
        height = max(height, 1.5)  # few among many are still seen
    gap = min(2.0, width * 0.1)
    return (
        f'<rect class="column" x="{left + gap / 2:.1f}" y="{_BOTTOM - height:.1f}" width="{width - gap:.1f}" '
        f'height="{height:.1f}"><title>{escape(_name(bar))}: {bar.count:,}</title></rect>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _name(bar: Bar) -> str:
    return bar.what or bar.label


def _short(number: float) -> str:
    """``1,500`` in full, ``20k`` and ``3M`` beyond: the margin is narrow."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= 10 * size or (number >= size and number % size == 0):
            return f"{number / size:g}{unit}"
    return f"{number:,.0f}"
