"""Training curves from the rows of ``metrics.jsonl``: a PNG by matplotlib, inline SVG for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featherlight.errors import MissingExtraError
from featherlight.files import atomic_path
from featherlight.report.texts import Texts, texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, Any]]  # one row an epoch

_WIDTH, _HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 330, 10, 176  # the plotting area
# A loss of 60 after the first epoch, when norms have seen little, would flatten the rest: curves may leave at the top.
_UNSETTLED = 2  # epochs, and a tenth of all
_SETTLED_SHARE = 2.0  # of the highest loss after those is shown


@dataclass(frozen=True)
class _Chart:
    title: str
    series: tuple[tuple[str, str], ...]  # (name, key of the row)
    from_zero: bool = True
    percent: bool = False

    def text(self, value: float) -> str:
        if math.isnan(value):
            return "unknown"
        return f"{100 * value:.4g}%" if self.percent else f"{value:.3g}"


_LOSS = _Chart("Loss", (("train", "train_loss"), ("validation", "val_loss")))
_ACCURACY = _Chart("Accuracy", (("validation", "val_top1"),), from_zero=False, percent=True)
_LEARNING_RATE = _Chart("Learning rate", (("learning rate", "learning_rate"),))


def write_curves(path: Path, history: History) -> None:
    """Writes loss and validation accuracy over epochs as a PNG; without a row there is nothing to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    if not history:
        return
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    for axes, chart in zip(figure.subplots(1, 2), (_LOSS, _ACCURACY), strict=True):
        _plot(axes, chart, history)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _plot(axes: Axes, chart: _Chart, history: History) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs, ticks = [row["epoch"] for row in history], _chart_ticks(chart, history)
    for name, key in chart.series:
        color, dashes = ("#8a6d3b", "--") if name == "train" else ("#0f766e", "-")
        values = _values(history, key)
        leaves = bool(ticks) and any(value > ticks[-1] for value in values)  # else dots on the edge are drawn whole
        axes.plot(epochs, values, dashes, label=name, color=color, marker="o", markersize=3, clip_on=leaves)
    axes.set(title=chart.title, xlabel="epoch")
    if ticks:
        axes.set(yticks=ticks, ylim=(ticks[0], ticks[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if chart.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def curves_svg(history: History, say: Texts | None = None) -> str:
    """Loss, accuracy and learning rate over epochs as HTML figures with inline SVG; "" without rows.

    Colours come from the page's CSS, so the curves follow its dark mode.

    Args:
        history: rows of ``metrics.jsonl``.
        say: the texts; by default English.
    """
    charts = (_LOSS, _ACCURACY, _LEARNING_RATE) if history else ()
    return "\n".join(_figure(chart, history, say or texts()) for chart in charts)


def _figure(chart: _Chart, history: History, say: Texts) -> str:
    ticks = _chart_ticks(chart, history)
    if not ticks:
        return ""
    x = [_place(row["epoch"], *_epoch_range(history), _LEFT + 6, _RIGHT - 6) for row in history]
    paths = [_path(x, _values(history, key), ticks, name) for name, key in chart.series]
    parts = [_grid(chart, ticks), _epochs(history, say), *paths, _hover(chart, x, history, say)]
    return (
        f'<figure class="chart"><figcaption>{say(chart.title)}{_legend(chart, say)}</figcaption>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_summary(chart, history, say)}">\n'
        + "\n".join(parts)
        + "\n</svg></figure>"
    )


def _values(history: History, key: str) -> list[float]:
    """One number a row; NaN where there is none, which leaves a gap in the curve."""
    numbers = (float("nan") if row.get(key) is None else float(row[key]) for row in history)
    return [number if math.isfinite(number) else float("nan") for number in numbers]


def _chart_ticks(chart: _Chart, history: History) -> list[float]:
    known = _known(chart, history)
    if not known:
        return []
    low, high = min(known), max(known)
    settled = _known(chart, history[_UNSETTLED + len(history) // 10 :])
    if chart is _LOSS and settled:
        high = min(high, _SETTLED_SHARE * max(settled))
    flat = math.isclose(low, high, rel_tol=1e-6)
    return round_ticks(0.0 if chart.from_zero or flat else low, high)


def _known(chart: _Chart, history: History) -> list[float]:
    return [value for _, key in chart.series for value in _values(history, key) if math.isfinite(value)]


def round_ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers that enclose ``low`` and ``high``."""
    rough = max((high - low) or abs(high) or 1.0, 1e-300) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [number * step for number in range(first, last + 1)]


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _height(value: float, ticks: Sequence[float]) -> float:
    return _place(min(value, ticks[-1]), ticks[0], ticks[-1], _BOTTOM, _TOP)


def _epoch_range(history: History) -> tuple[float, float]:
    first, last = history[0]["epoch"], history[-1]["epoch"]
    return (first, last) if last > first else (first - 1, first + 1)  # one epoch stands in the middle


def _grid(chart: _Chart, ticks: Sequence[float]) -> str:
    rows = []
    for tick in ticks:
        y = _height(tick, ticks)
        rows.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        rows.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{chart.text(tick)}</text>')
    return "".join(rows)


def _epochs(history: History, say: Texts) -> str:
    low, high = _epoch_range(history)
    shown = [tick for tick in round_ticks(low, high) if tick == int(tick) and history[0]["epoch"] <= tick <= high]
    labels = [
        f'<text x="{_place(tick, low, high, _LEFT + 6, _RIGHT - 6):.1f}" y="{_BOTTOM + 16}" '
        f'text-anchor="middle">{tick:.0f}</text>'
        for tick in (shown if len(history) > 1 else [history[0]["epoch"]])
    ]
    middle = (_LEFT + _RIGHT) / 2
    return "".join(labels) + f'<text x="{middle}" y="{_BOTTOM + 32}" text-anchor="middle">{say("epoch")}</text>'


def _path(x: Sequence[float], line: Sequence[float], ticks: Sequence[float], name: str) -> str:
    """The curve, with a dot at its end; where values are unknown it has gaps."""
    points = [(at, _height(value, ticks)) for at, value in zip(x, line, strict=True)]
    steps, before = [], float("nan")
    for at, y in points:
        if math.isfinite(y):
            # a stroke of no length shows a lone point, thanks to the round line cap
            steps.append(f"L{at:.1f} {y:.1f}" if math.isfinite(before) else f"M{at:.1f} {y:.1f}h0")
        before = y
    dots = [
        f'<circle class="dot {_css(name)}" cx="{at:.1f}" cy="{y:.1f}" r="3"/>' for at, y in points if math.isfinite(y)
    ]
    return f'<path class="line {_css(name)}" d="{"".join(steps)}"/>' + "".join(dots[-1:])


def _hover(chart: _Chart, x: Sequence[float], history: History, say: Texts) -> str:
    """A strip an epoch, unseen until pointed at, with the numbers as its tooltip."""
    width = (_RIGHT - _LEFT) / len(history)
    return '<g class="hover">' + "".join(
        f'<rect x="{position - width / 2:.1f}" y="{_TOP}" width="{width:.1f}" height="{_BOTTOM - _TOP}">'
        f"<title>{_row_text(chart, row, say)}</title></rect>"
        for position, row in zip(x, history, strict=True)
    ) + "</g>"  # fmt: skip


def _row_text(chart: _Chart, row: Mapping[str, Any], say: Texts) -> str:
    numbers = ((say(name), _values([row], key)[0]) for name, key in chart.series)
    return f"{say('epoch')} {row['epoch']}: " + ", ".join(f"{name} {chart.text(number)}" for name, number in numbers)


def _summary(chart: _Chart, history: History, say: Texts) -> str:
    first, last = (_row_text(chart, row, say) for row in (history[0], history[-1]))
    return say("{title}. First {first}. Last {last}.", title=say(chart.title), first=first, last=last)


def _legend(chart: _Chart, say: Texts) -> str:
    if chart is _LEARNING_RATE:
        return ""
    return "".join(f'<span class="key {_css(name)}">{say(name)}</span>' for name, _ in chart.series)


def _css(name: str) -> str:
    return name.replace(" ", "-")
