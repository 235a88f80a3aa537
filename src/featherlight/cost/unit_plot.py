"""The units' costs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featherlight.cost.units import UnitCost, UnitSize, convolution_costs, unit_costs
from featherlight.report.figure import BROWN, GREEN, GREY, INK, new_figure, save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_units(path: Path, size: UnitSize) -> None:
    """Draws multiply-adds of units and convolutions of this size, and how units get cheaper with groups.

    Raises:
        UsageError: a format that is not drawn.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(path, 12, 4.6)
    bars, lines = figure.subplots(1, 2, width_ratios=(1.5, 1))
    _plot_bars(bars, [*reversed(convolution_costs(size)), *reversed(unit_costs(size))])
    _plot_groups(lines, size)
    letters = f"c = {size.channels}, m = {size.middle}, g = {size.groups}, {size.height} x {size.width}"
    figure.suptitle(f"Multiply-adds of one unit: {letters}", color=INK)
    save_figure(figure, path)


def _plot_bars(axes: Axes, costs: Sequence[UnitCost]) -> None:
    from matplotlib.ticker import EngFormatter

    names = [cost.unit for cost in costs]
    pointwise = [cost.pointwise_macs or 0 for cost in costs]
    spatial = [(cost.macs or 0) - one for cost, one in zip(costs, pointwise, strict=True)]
    axes.barh(names, pointwise, color=GREEN, label="1x1 convolutions")
    axes.barh(names, spatial, left=pointwise, color=BROWN, label="KxK convolutions")
    by_formula = [cost.formula_macs for cost in costs]
    axes.plot(by_formula, names, "|", color=INK, markersize=14, markeredgewidth=2, label="by formula")
    for name, macs in zip(names, by_formula, strict=True):
        axes.annotate(_short(macs), (macs, name), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    axes.set(xlabel="multiply-adds")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.margins(x=0.12)
    tidy(axes)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False, loc="center right")


def _plot_groups(axes: Axes, size: UnitSize) -> None:
    """Cost by number of groups, for every number that divides c and m."""
    groups = [g for g in range(1, 65) if size.channels % g == 0 == size.middle % g]
    costs = [unit_costs(replace(size, groups=g))[:3] for g in groups]
    for index, color in enumerate((GREY, BROWN, GREEN)):
        macs = [row[index].formula_macs for row in costs]
        axes.plot(groups, macs, "o-", color=color, label=costs[0][index].unit, markersize=4)
    axes.set(xlabel="groups", ylabel="multiply-adds")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:.0f}")
    tidy(axes)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False)


def _short(macs: int) -> str:
    for unit, divisor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= divisor:
            return f"{macs / divisor:.3g} {unit}"
    return str(macs)
