"""A learning-rate range test as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featherlight.report.figure import BROWN, GREEN, GREY, new_figure, save_figure, tidy


def write_rate_plot(
    path: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float
) -> None:
    """Writes loss over learning rate, its logarithm to the right, as a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FeatherlightError: the file cannot be written.
    """
    figure = new_figure(path, 7, 4)
    axes = figure.subplots()
    axes.plot(rates, losses, color=GREY, linewidth=0.8, label="loss")
    axes.plot(rates, smoothed, color=GREEN, label="smoothed")
    axes.axvline(suggestion, color=BROWN, linestyle="--", label=f"suggestion {suggestion:g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="Learning-rate range test")
    axes.set_ylim(0.9 * min(smoothed), 1.1 * max(smoothed[0], 1.5 * min(smoothed)))
    tidy(axes)
    axes.legend(frameon=False)
    save_figure(figure, path)
