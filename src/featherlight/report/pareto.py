"""Fast against right, as a picture: settings that no other beats in both are joined by a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featherlight.report.figure import GREEN, GREY, INK, new_figure, save_figure, tidy


@dataclass(frozen=True)
class Point:
    """One setting.

    Attributes:
        label: short text beside the point.
        cost: latency or the like; lower is better.
        value: accuracy or the like; higher is better.
    """

    label: str
    cost: float
    value: float


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in cost without losing in value, by cost."""
    front, highest = list[Point](), -math.inf
    for point in sorted(points, key=lambda point: (point.cost, -point.value)):
        if point.value > highest:
            front.append(point)
            highest = point.value
    return front


def plot_pareto(
    path: Path, points: Sequence[Point], title: str, axes: tuple[str, str], limit: float | None = None
) -> None:
    """Draws points and their front.

    Args:
        path: a .png or .svg file.
        points: at least one.
        title: what was measured where.
        axes: what cost and value are.
        limit: of cost; None: there is none to draw.

    Raises:
        UsageError: a format that is not drawn.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(path, 9, 5.4)
    plot = figure.subplots()
    front = pareto_front(points)
    others = [point for point in points if point not in front]
    plot.plot([p.cost for p in others], [p.value for p in others], "o", color=GREY, markersize=6)
    plot.plot([p.cost for p in front], [p.value for p in front], "o-", color=GREEN, markersize=7)
    for point in points:
        plot.annotate(
            point.label, (point.cost, point.value), xytext=(6, 5), textcoords="offset points", fontsize=8, color=INK
        )
    if limit is not None:
        plot.axvline(limit, color=GREY, linestyle="--", linewidth=1)
        plot.annotate(
            "limit", (limit, 1), xycoords=("data", "axes fraction"), xytext=(-4, -4), textcoords="offset points",
            fontsize=8, color=INK, rotation=90, ha="right", va="top",
        )  # fmt: skip
    plot.set(xlabel=axes[0], ylabel=axes[1])
    plot.set_xscale("log")
    plot.margins(x=0.15, y=0.1)
    tidy(plot)
    figure.suptitle(title, color=INK, fontsize=10)
    save_figure(figure, path)
