"""Several lines in one picture: HTML figures with inline SVG, coloured by the page's style, and a PNG by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from featherlight.errors import MissingExtraError
from featherlight.files import atomic_path
from featherlight.report.curves import round_ticks
from featherlight.report.texts import Texts, texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0f766e", "#c2410c", "#4f46e5", "#a16207", "#be185d", "#0369a1", "#4d7c0f", "#7c3aed")
_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 448, 10, 214  # the plotting area
_MAX_HOVERED = 400  # points with a tooltip; of more, some


@dataclass(frozen=True)
class Line:
    """A line through points.

    Attributes:
        name: for the legend.
        x: from left to right.
        y: as many.
        intervals: lowest and highest of each point; empty: not known.
        forecast: how many points at the end are not measured; they are joined by dashes.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[tuple[float, float]] = ()
    forecast: int = 0


@dataclass(frozen=True)
class Chart:
    """What the lines show.

    Attributes:
        title: of the picture.
        axis: what stands under it.
        lines: at least one with a point that is known.
        percent: heights are fractions, shown as percentages.
        log: the x axis is logarithmic, with a mark at each point.
        unit: of x in tooltips: ``{} s``.
    """

    title: str
    axis: str
    lines: Sequence[Line]
    percent: bool = False
    log: bool = False
    unit: str = "{}"

    def text(self, value: float) -> str:
        """A height."""
        return f"{100 * value:.4g}%" if self.percent else f"{value:.3g}"


def lines_svg(chart: Chart, say: Texts | None = None) -> str:
    """The figure; "" where no point is known.

    Args:
        chart: what it shows, its texts as they are to be shown.
        say: what is said of it to those who do not see it; by default English.
    """
    say = say or texts()
    scale = _Scale.of(chart)
    if scale is None:
        return ""
    drawn = [_draw(chart, line, f"c{number % len(COLOURS)}", scale) for number, line in enumerate(chart.lines)]
    label = ". ".join([chart.title, *(_summary(chart, line, say) for line in chart.lines if _known(line)), ""]).rstrip()
    return (
        f'<figure class="chart lines"><figcaption>{escape(chart.title)}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        + "\n".join([_grid(chart, scale), *drawn])
        + f"\n</svg>\n<p>{_legend(chart)}</p></figure>"
    )


def write_lines(path: Path, charts: Sequence[Chart]) -> None:
    """Draws charts side by side as a PNG; without a known point there is nothing to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    charts = [chart for chart in charts if _Scale.of(chart) is not None]
    if not charts:
        return
    figure = Figure(figsize=(5 * len(charts), 4), dpi=120, layout="constrained")
    for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
        _plot(axes, chart)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _plot(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for number, line in enumerate(chart.lines):
        if points := _known(line):  # a line without points keeps its colour, so that it is the same everywhere
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], label=line.name, linewidth=1.6)
    axes.set(title=chart.title, xlabel=chart.axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=_is_whole(chart), min_n_ticks=1))
    if chart.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


@dataclass(frozen=True)
class _Scale:
    """From values to places in the picture."""

    low: float
    high: float
    ticks: Sequence[float]
    log: bool

    @classmethod
    def of(cls, chart: Chart) -> _Scale | None:
        points = [point for line in chart.lines for point in _known(line)]
        if not points:
            return None
        ends = [end for line in chart.lines for pair in line.intervals for end in pair if math.isfinite(end)]
        heights = [*(point[1] for point in points), *ends]
        flat = math.isclose(min(heights), max(heights), rel_tol=1e-6)
        ticks = round_ticks(0.0 if flat else min(heights), max(heights))
        low, high = min(point[0] for point in points), max(point[0] for point in points)
        return cls(*((low, high) if high > low else (low * 0.9 - 0.1, high * 1.1 + 0.1)), ticks, chart.log)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        low, high, at = (math.log(number) if self.log else number for number in (self.low, self.high, value))
        return _LEFT + 8 + (at - low) / (high - low) * (_RIGHT - _LEFT - 16)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return _BOTTOM - (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0]) * (_BOTTOM - _TOP)


def _known(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]


def _grid(chart: Chart, scale: _Scale) -> str:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{chart.text(tick)}</text>')
    for tick in _marks(chart, scale):
        parts.append(f'<text x="{scale.x(tick):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{_short(tick)}</text>')
    middle = (_LEFT + _RIGHT) / 2
    return "".join(parts) + f'<text x="{middle}" y="{_BOTTOM + 34}" text-anchor="middle">{escape(chart.axis)}</text>'


def _marks(chart: Chart, scale: _Scale) -> list[float]:
    """Where numbers stand under the picture: at round ones, or at the points of a logarithmic axis."""
    if chart.log:
        return sorted({x for line in chart.lines for x in line.x})
    ticks = [tick for tick in round_ticks(scale.low, scale.high) if scale.low <= tick <= scale.high]
    return [tick for tick in ticks if tick == int(tick)] if _is_whole(chart) else ticks


def _is_whole(chart: Chart) -> bool:
    """Whether x counts something, as epochs."""
    return all(x == int(x) for line in chart.lines for x, _ in _known(line))


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 10 else f"{number:.3g}"


def _draw(chart: Chart, line: Line, colour: str, scale: _Scale) -> str:
    points = [(scale.x(x), scale.y(y)) for x, y in _known(line)]
    if not points:
        return ""
    measured = points[: len(points) - line.forecast]
    parts = [_path(measured, "line")]
    if line.forecast and measured:
        parts.append(_path(points[len(measured) - 1 :], "line forecast"))
    for x, (low, high) in zip(line.x, line.intervals, strict=False):
        parts.append(f'<path class="whisker" d="M{scale.x(x):.1f} {scale.y(low):.1f}V{scale.y(high):.1f}"/>')
    every = -(-len(points) // _MAX_HOVERED)
    for (x, y), (at, value) in list(zip(points, _known(line), strict=True))[::every]:
        told = f"{line.name}, {chart.unit.format(_short(at))}: {chart.text(value)}"
        shown = "dot" if chart.log or len(points) == 1 else "dot unseen"
        parts.append(f'<circle class="{shown}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(told)}</title></circle>')
    return f'<g class="{colour}">{"".join(parts)}</g>'


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{steps}"/>'


def _summary(chart: Chart, line: Line, say: Texts) -> str:
    (x, y), (end, height) = _known(line)[0], _known(line)[-1]
    return say(
        "{name}: {first} at {start}, {last} at {end}",
        name=line.name, first=chart.text(y), start=chart.unit.format(_short(x)), last=chart.text(height),
        end=chart.unit.format(_short(end)),
    )  # fmt: skip


def _legend(chart: Chart) -> str:
    return "".join(
        f'<span class="key c{number % len(COLOURS)}">{escape(line.name)}</span>'
        for number, line in enumerate(chart.lines)
        if _known(line)
    )
