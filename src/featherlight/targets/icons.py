"""The feather as an icon, drawn by Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_TEAL, _WHITE = (15, 118, 110, 255), (255, 255, 255, 255)
_SMOOTH = 4  # drawn so many times larger, then made smaller
_GRID = 24  # the curves' own size
_STROKE = 1.8
_CURVES = (  # cubic Bézier curves: begin, two handles, end
    ((20.5, 3.5), (14.3, 2.9), (9.5, 5.0), (7.7, 9.8)),
    ((7.7, 9.8), (6.8, 12.3), (6.8, 14.8), (7.1, 17.0)),
    ((3.5, 20.5), (7.0, 15.0), (11.0, 11.0), (16.5, 7.5)),
    ((7.1, 17.0), (12.6, 17.3), (17.1, 15.4), (18.8, 10.7)),
    ((20.5, 3.5), (20.8, 6.2), (20.2, 8.7), (18.8, 10.7)),
)


def draw_icon(size: int, *, maskable: bool = False) -> Image.Image:
    """A white feather on teal, ``size`` pixels wide, RGBA.

    Args:
        size: side in pixels.
        maskable: filled to its corners, the feather within the middle four fifths: systems cut their own shape out.
    """
    side = size * _SMOOTH
    image = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, side - 1, side - 1), 0 if maskable else side * 0.22, fill=_TEAL)
    share = 0.56 if maskable else 0.7
    scale, margin = side * share / _GRID, side * (1 - share) / 2
    for curve in _CURVES:
        _draw_stroke(draw, _points(curve) * scale + margin, _STROKE * scale)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _points(curve: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Points along a cubic Bézier curve, (N, 2)."""
    t = np.linspace(0, 1, 65)[:, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    return sum((w * np.array(p) for w, p in zip(weights, curve, strict=True)), np.zeros(2))


def _draw_stroke(draw: ImageDraw.ImageDraw, points: NDArray[np.float64], width: float) -> None:
    for x, y in points:  # so near to each other that the line has smooth edges and round ends
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=_WHITE)
