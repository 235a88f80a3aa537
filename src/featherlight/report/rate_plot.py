"""A learning-rate range test as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featherlight.errors import MissingExtraError
from featherlight.files import atomic_path


def write_rate_plot(
    path: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float
) -> None:
    """Writes loss over learning rate, its logarithm to the right, as a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        FeatherlightError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="#94a3b8", linewidth=0.8, label="loss")
    axes.plot(rates, smoothed, color="#0f766e", label="smoothed")
    axes.axvline(suggestion, color="#b7791f", linestyle="--", label=f"suggestion {suggestion:g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="Learning-rate range test")
    axes.set_ylim(0.9 * min(smoothed), 1.1 * max(smoothed[0], 1.5 * min(smoothed)))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
