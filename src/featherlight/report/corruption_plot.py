"""Accuracy as images get worse, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featherlight.errors import MissingExtraError
from featherlight.files import atomic_path

_COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#0369a1")
_MARKERS = "osD^vP"  # told apart without colour, too
_INK = "#334155"


def plot_corruptions(path: Path, corruptions: Mapping[str, Any]) -> None:
    """Draws a line a kind over strengths as a PNG; strength 0 is the images as they are.

    Args:
        path: the file.
        corruptions: the field of an evaluation.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    plot = figure.subplots()
    for (kind, shares), colour, marker in zip(corruptions["accuracy"].items(), _COLOURS, _MARKERS, strict=True):
        values = [100 * share for share in (corruptions["top1"], *shares)]
        plot.plot(range(len(values)), values, f"{marker}-", color=colour, markersize=5, linewidth=1.6, label=kind)
    plot.set(xlabel="strength", ylabel="accuracy, %", ylim=(0, 101), xticks=range(6))
    plot.grid(alpha=0.25)
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(frameon=False, fontsize=9, loc="lower left")
    mean = f"{100 * corruptions['mean']:.1f} % in the mean of all, {100 * corruptions['top1']:.1f} % without"
    figure.suptitle(f"Images made worse: {mean}", color=_INK, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
