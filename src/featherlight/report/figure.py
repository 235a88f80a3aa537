"""What the pictures that matplotlib draws have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from featherlight.errors import MissingExtraError, UsageError
from featherlight.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
GREEN, BROWN, GREY, INK = "#0f766e", "#b7791f", "#94a3b8", "#334155"


def check_plot_path(path: Path) -> None:
    """Refuses early what would fail late.

    Raises:
        UsageError: a format that is not drawn.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: the plot can be a .png or an .svg file")


def new_figure(path: Path, width: float, height: float) -> Figure:
    """An empty figure for ``path``; width and height in units of 120 pixels.

    Raises:
        UsageError: a format that is not drawn.
        MissingExtraError: matplotlib is not installed.
    """
    check_plot_path(path)
    try:
        from matplotlib.figure import Figure  # the object interface: no window, no global state
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", path.name) from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def tidy(axes: Axes) -> None:
    """A faint grid, and no frame at the top and on the right."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the whole picture or nothing.

    Raises:
        FeatherlightError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower()[1:])
