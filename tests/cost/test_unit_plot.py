from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.cost.unit_plot import plot_units
from featherlight.cost.units import UnitSize
from featherlight.errors import UsageError


def test_png_shows_bars_in_both_colours(tmp_path: Path) -> None:
    plot_units(tmp_path / "units.png", UnitSize())
    pixels = np.asarray(Image.open(tmp_path / "units.png").convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    found = {tuple(colour): count for colour, count in zip(colours.tolist(), counts, strict=True)}
    assert found[0x0F, 0x76, 0x6E] > 1000  # 1x1
    assert found[0xB7, 0x79, 0x1F] > 1000  # KxK


def test_svg_is_a_drawing_and_nothing_else_is_left(tmp_path: Path) -> None:
    plot_units(tmp_path / "units.SVG", UnitSize(channels=240, middle=60))  # has no unit of stride 2
    assert ET.parse(tmp_path / "units.SVG").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert [path.name for path in tmp_path.iterdir()] == ["units.SVG"]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"units.pdf: the plot can be a .png or an .svg file"):
        plot_units(tmp_path / "units.pdf", UnitSize())
    assert not list(tmp_path.iterdir())
