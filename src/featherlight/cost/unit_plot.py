"""The units' costs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featherlight.cost.units import UnitCost, UnitSize, convolution_costs, unit_costs
from featherlight.errors import MissingExtraError, UsageError
from featherlight.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
_GREEN, _BROWN, _GREY, _INK = "#0f766e", "#b7791f", "#94a3b8", "#334155"


def check_plot_path(path: Path) -> None:
    """Refuses early what would fail late.

    Raises:
        UsageError: a format that is not drawn.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: the plot can be a .png or an .svg file")


def plot_units(path: Path, size: UnitSize) -> None:
    """Draws multiply-adds of units and convolutions of this size, and how units get cheaper with groups.

    Raises:
        UsageError: a format that is not drawn.
        MissingExtraError: matplotlib is not installed.
    """
    check_plot_path(path)
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    figure = Figure(figsize=(12, 4.6), dpi=120, layout="constrained")
    bars, lines = figure.subplots(1, 2, width_ratios=(1.5, 1))
    _plot_bars(bars, [*reversed(convolution_costs(size)), *reversed(unit_costs(size))])
    _plot_groups(lines, size)
    letters = f"c = {size.channels}, m = {size.middle}, g = {size.groups}, {size.height} x {size.width}"
    figure.suptitle(f"Multiply-adds of one unit: {letters}", color=_INK)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower()[1:])


def _plot_bars(axes: Axes, costs: Sequence[UnitCost]) -> None:
    from matplotlib.ticker import EngFormatter

    names = [cost.unit for cost in costs]
    pointwise = [cost.pointwise_macs or 0 for cost in costs]
    spatial = [(cost.macs or 0) - one for cost, one in zip(costs, pointwise, strict=True)]
    axes.barh(names, pointwise, color=_GREEN, label="1x1 convolutions")
    axes.barh(names, spatial, left=pointwise, color=_BROWN, label="KxK convolutions")
    by_formula = [cost.formula_macs for cost in costs]
    axes.plot(by_formula, names, "|", color=_INK, markersize=14, markeredgewidth=2, label="by formula")
    for name, macs in zip(names, by_formula, strict=True):
        axes.annotate(_short(macs), (macs, name), xytext=(6, 0), textcoords="offset points", va="center", color=_INK)
    axes.set(xlabel="multiply-adds")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.margins(x=0.12)
    _tidy(axes)
    axes.legend(frameon=False, loc="center right")


def _plot_groups(axes: Axes, size: UnitSize) -> None:
    """Cost by number of groups, for every number that divides c and m."""
    groups = [g for g in range(1, 65) if size.channels % g == 0 == size.middle % g]
    costs = [unit_costs(replace(size, groups=g))[:3] for g in groups]
    for index, color in enumerate((_GREY, _BROWN, _GREEN)):
        macs = [row[index].formula_macs for row in costs]
        axes.plot(groups, macs, "o-", color=color, label=costs[0][index].unit, markersize=4)
    axes.set(xlabel="groups", ylabel="multiply-adds")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    _tidy(axes)
    axes.legend(frameon=False)


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)


def _short(macs: int) -> str:
    for unit, divisor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= divisor:
            return f"{macs / divisor:.3g} {unit}"
    return str(macs)
