"""Draws the pictures and writes the tables of docs/light-networks.md and its Chinese version.

``python docs/make_light_networks.py`` counts; with ``--measure`` it also times the networks, with nothing else running.
A test keeps what is counted true.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from featherlight.cost.latency import machine_name
from featherlight.cost.unit_plot import plot_units
from featherlight.cost.units import UnitSize, unit_costs
from featherlight.report.figure import BROWN, GREEN, GREY, new_figure, save_figure, tidy
from featherlight.workflows.benchmark import benchmark
from featherlight.workflows.explain import explain_channel_shuffle
from featherlight.workflows.profile import profile

HERE = Path(__file__).parent
IMAGES = HERE / "images"
PAGES = (HERE / "light-networks.md", HERE / "light-networks.zh-CN.md")
SIZE = UnitSize(channels=240, middle=60, groups=3, height=28, width=28)
ALIKE = (
    "mobilenet_v1_x0_5",
    "shufflenet_v1_g1_x1_0",
    "shufflenet_v2_x1_0",
    "shufflenet_v1_g3_x1_0",
    "shufflenet_v1_g8_x1_0",
)
OTHER = "timm/resnet18"
STAGED = "shufflenet_v1_g3_x1_0"


def cost_rows() -> dict[str, str]:
    """Network -> the counted part of its row: multiply-adds and activations in millions of bytes."""
    costs = {name: profile(name, 224) for name in (*ALIKE, OTHER)}
    return {
        name: f"| `{name}` | {cost.macs / 1e6:,.0f} | {cost.activation_bytes / 1e6:.1f} |"
        for name, cost in costs.items()
    }


def unit_macs() -> list[str]:
    """The ends of the rows of units."""
    return [f"{row.macs:,}" for row in unit_costs(SIZE)[:3]]


def draw_stages(path: Path) -> None:
    """Where a network's parameters, multiply-adds and activations lie: one bar each, divided by stages."""
    cost = profile(STAGED, 224)
    figure = new_figure(path, 7, 2.6)
    axes = figure.subplots()
    stages = [stage for stage in cost.stages if stage.macs or stage.params]
    rows = (("parameters", "params"), ("multiply-adds", "macs"), ("activations", "activation_bytes"))
    shades = [GREY, "#99f6e4", "#2dd4bf", GREEN, BROWN]
    for place, (title, field) in enumerate(rows):
        total, left = getattr(cost, field), 0.0
        for stage, shade in zip(stages, shades, strict=True):
            part = 100 * getattr(stage, field) / total
            axes.barh(title, part, left=left, color=shade, label=stage.name if place == 0 else None)
            if part > 6:
                axes.text(left + part / 2, place, f"{part:.0f}", ha="center", va="center", fontsize=8)
            left += part
    axes.invert_yaxis()
    axes.set_xlabel(f"percent of {STAGED}")
    figure.legend(loc="outside upper center", ncols=len(stages), frameon=False, fontsize=8)
    tidy(axes)
    save_figure(figure, path)


def measure() -> dict[str, float]:
    """Milliseconds for one image in PyTorch on one thread; networks are measured in turn."""
    found = benchmark([*ALIKE, OTHER], engines=("torch",), batches=(1,), threads=(1,), memory=False)
    return {row.model: row.p50_ms for row in found}


def draw_latency(path: Path, rows: dict[str, str], times: dict[str, float]) -> None:
    """Networks of about the same multiply-adds, by activations and latency."""
    figure = new_figure(path, 7, 3.6)
    axes = figure.subplots()
    for name in ALIKE:
        macs, megabytes = (float(cell.replace(",", "")) for cell in rows[name].split("|")[2:4])
        axes.scatter(megabytes, times[name], color=GREEN)
        axes.annotate(
            f"{name}\n{macs:.0f} M", (megabytes, times[name]), fontsize=7, xytext=(6, -4), textcoords="offset points"
        )
    axes.set(xlabel="activations, MB", ylabel="latency, ms", xlim=(20, 85), ylim=(0, None))
    axes.set_title(f"about as many multiply-adds, other latencies\n{machine_name()}, one thread", fontsize=9)
    tidy(axes)
    save_figure(figure, path)


def write_rows(page: Path, rows: dict[str, str], times: dict[str, float]) -> None:
    """Puts rows into the page's table; latencies that were not measured stay."""
    text = page.read_text(encoding="utf-8")
    for name, row in rows.items():
        known = re.search(rf"^\| `{re.escape(name)}` .*\| ([\d.]+) \|$", text, re.MULTILINE)
        if known is None:
            raise SystemExit(f"{page.name} has no row of {name}")
        latency = f"{times[name]:.1f}" if name in times else known[1]
        text = text.replace(known[0], f"{row} {latency} |")
    page.write_text(text, encoding="utf-8")


def main(with_times: bool) -> None:
    """Draws everything, writes both pages."""
    explain_channel_shuffle(3, 12, IMAGES / "channel-shuffle.svg")
    plot_units(IMAGES / "units.svg", SIZE)
    draw_stages(IMAGES / "stages.svg")
    rows = cost_rows()
    times = measure() if with_times else {}
    if times:
        draw_latency(IMAGES / "macs-and-latency.svg", rows, times)
    for page in PAGES:
        write_rows(page, rows, times)


if __name__ == "__main__":
    main("--measure" in sys.argv[1:])
