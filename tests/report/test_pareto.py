from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featherlight.errors import UsageError
from featherlight.report.pareto import Point, pareto_front, plot_pareto

POINTS = st.lists(st.builds(Point, st.just(""), st.integers(1, 9), st.integers(1, 9)), min_size=1)


@given(POINTS)
def test_front_is_what_no_other_point_beats(points: list[Point]) -> None:
    front = pareto_front(points)
    for point in points:
        beaten = any(other.cost <= point.cost and other.value >= point.value and other != point for other in points)
        assert beaten != (point in front)


def test_picture_is_drawn(tmp_path: Path) -> None:
    points = [Point("a", 1, 90), Point("b", 2, 95), Point("c", 3, 91)]
    plot_pareto(tmp_path / "speed.png", points, "machine", ("ms", "accuracy"))
    with Image.open(tmp_path / "speed.png") as picture:
        assert picture.width > 500
    with pytest.raises(UsageError, match=r"\.png or an \.svg"):
        plot_pareto(tmp_path / "speed.pdf", points, "machine", ("ms", "accuracy"))
