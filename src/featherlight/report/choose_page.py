"""The page of a choice: the answer, the race, what each network costs and reaches; it loads nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from featherlight.choosing import Candidate, Choice, show_count, show_latency, show_size
from featherlight.report.curves import round_ticks
from featherlight.report.lines import COLOURS, Chart, Line, lines_svg
from featherlight.report.pareto import Point, pareto_front
from featherlight.report.rendering import load_template, write_page
from featherlight.report.texts import Texts, texts

MAX_RACERS = 12  # lines that can still be told apart
_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 448, 14, 214  # the plotting area


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        candidate: what it tells of.
        colour: number of its line in the race; -1: it has none.
        share: accuracy as a part of the best, for a bar.
    """

    candidate: Candidate
    colour: int
    share: float


def write_choose_page(path: Path, choice: Choice, lang: str = "en") -> None:
    """Writes the page, in ``en`` or ``zh``.

    Raises:
        UsageError: no such language.
    """
    say = texts(lang)
    best = max((one.accuracy or 0.0 for one in choice.trained), default=0.0)
    names = [one.name for one in choice.trained[:MAX_RACERS]]
    rows = [
        Row(one, names.index(one.name) if one.name in names else -1, (one.accuracy or 0.0) / (best or 1.0))
        for one in choice.candidates
    ]
    page = load_template("choose.html", lang).render(
        choice=choice,
        pick=choice.pick,
        trained=[row for row in rows if row.candidate.accuracy is not None],
        left_out=[row for row in rows if row.candidate.accuracy is None],
        limits=_limits(choice, say),
        pareto=pareto_svg(choice, say),
        race=lines_svg(race_chart(choice.trained[:MAX_RACERS], say), say),
        colours=len(COLOURS),
        show_latency=show_latency,
        show_size=show_size,
        show_count=show_count,
    )
    write_page(path, page)


def race_chart(trained: Sequence[Candidate], say: Texts | None = None) -> Chart:
    """Accuracy on validation over minutes of training, a line a network."""
    say = say or texts()
    lines = [Line(one.name, [at / 60 for at, _ in one.curve], [top1 for _, top1 in one.curve]) for one in trained]
    return Chart(say("Accuracy on validation"), say("minutes of training"), lines, percent=True, unit=say("{} min"))


def pareto_svg(choice: Choice, say: Texts | None = None) -> str:
    """Accuracy against latency, the front joined by a line, the limit dashed; "" with fewer than two points.

    Colours come from the page's style, so it follows its dark mode.
    """
    say = say or texts()
    shown = [one for one in choice.trained if one.latency_ms is not None]
    if len(shown) < 2:
        return ""
    points = {one.name: Point(one.name, one.latency_ms or 0.0, one.accuracy or 0.0) for one in shown}
    front = pareto_front(list(points.values()))
    place = _Places(list(points.values()), choice.limits.latency_ms, say)
    joined = "L".join(f"{place.x(point.cost):.1f} {place.y(point.value):.1f}" for point in front)
    dots = [_dot(points[one.name], one, place, choice, say) for one in shown]
    label = ". ".join(f"{one.name}: {one.accuracy:.1%}, {show_latency(one.latency_ms or 0.0)}" for one in shown)
    return (
        f'<figure class="chart pareto"><figcaption>{say("Accuracy and time")}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f'{place.grid()}<path class="line" d="M{joined}"/>{place.limit()}{"".join(dots)}\n</svg></figure>'
    )


class _Places:
    """From milliseconds, on a logarithmic axis, and fractions to places in the picture."""

    def __init__(self, points: Sequence[Point], limit: float | None, say: Texts) -> None:
        costs = [point.cost for point in points] + ([limit] if limit is not None else [])
        low, high = min(costs), max(costs)
        self._low, self._high, self._limit = math.log(low * 0.8), math.log(high * 1.25), limit
        self._say = say
        values = [point.value for point in points]
        flat = math.isclose(min(values), max(values), rel_tol=1e-6)
        self._ticks = round_ticks(0.0 if flat else min(values), max(values))
        self._marks = sorted({*costs}) if len(costs) <= 4 else [low, math.sqrt(low * high), high]

    def x(self, cost: float) -> float:
        """Pixels from the left."""
        return _LEFT + (math.log(cost) - self._low) / (self._high - self._low) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self._ticks[0], self._ticks[-1]
        return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)

    def grid(self) -> str:
        """Lines and numbers."""
        parts = []
        for tick in self._ticks:
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{100 * tick:.4g}%</text>')
        shown = -math.inf
        for mark in self._marks:
            if self.x(mark) - shown > 44:  # else the numbers would overlap
                shown = self.x(mark)
                parts.append(f'<text x="{shown:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{mark:.3g}</text>')
        middle = (_LEFT + _RIGHT) / 2
        return (
            "".join(parts)
            + f'<text x="{middle}" y="{_BOTTOM + 34}" text-anchor="middle">{self._say("ms an image")}</text>'
        )

    def limit(self) -> str:
        """The latency that is allowed."""
        if self._limit is None:
            return ""
        x = self.x(self._limit)
        text = f'<text x="{x - 5:.1f}" y="{_TOP + 10}" text-anchor="end">{self._say("limit")}</text>'
        return f'<path class="limit" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>{text}'


def _dot(point: Point, candidate: Candidate, place: _Places, choice: Choice, say: Texts) -> str:
    is_pick = choice.pick is not None and choice.pick.name == candidate.name
    told = say(
        "{name}: {accuracy} on validation, {latency}",
        name=point.label, accuracy=f"{point.value:.1%}", latency=show_latency(point.cost),
    )  # fmt: skip
    x, y = place.x(point.cost), place.y(point.value)
    side = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
    text = f'<text class="name" x="{x + (-9 if side == "end" else 9):.1f}" y="{y - 7:.1f}" text-anchor="{side}">'
    return (
        f'<circle class="dot{" pick" if is_pick else ""}" cx="{x:.1f}" cy="{y:.1f}" r="{6 if is_pick else 4}">'
        f"<title>{escape(told)}</title></circle>{text}{escape(point.label)}</text>"
    )


def _limits(choice: Choice, say: Texts) -> list[tuple[str, str, str]]:
    """(what, allowed, reached) of each limit that was asked for."""
    limits, pick = choice.limits, choice.pick
    rows: list[tuple[str, Any, Any, Any]] = [
        (say("Time for an image"), limits.latency_ms, pick and pick.latency_ms, show_latency),
        (say("Size of the files"), limits.size_bytes, pick and pick.size_bytes, show_size),
        (say("MACs"), limits.macs, pick and pick.macs, show_count),
    ]
    found = [
        (name, say("at most {limit}", limit=show(limit)), show(value) if value else "-")
        for name, limit, value, show in rows
        if limit
    ]
    if limits.accuracy is not None:
        asked = say("at least {limit}", limit=f"{limits.accuracy:.1%}")
        found.append((say("Accuracy"), asked, f"{pick.accuracy:.1%}" if pick else "-"))
    return found
