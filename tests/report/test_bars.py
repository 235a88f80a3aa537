from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.report.bars import Bar, bars_svg
from featherlight.report.distributions import distributions_svg
from featherlight.sources.facts import Facts


def columns(figure: str) -> list[tuple[float, str]]:
    """Height and tooltip of each bar."""
    root = ET.fromstring(figure.replace("&middot;", ""))
    return [(float(rect.get("height")), rect[0].text) for rect in root.iter("rect")]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40))
def test_heights_are_as_the_counts(counts: list[int]) -> None:
    drawn = columns(bars_svg("things", [Bar(str(k), count) for k, count in enumerate(counts)]))
    assert [text for _, text in drawn] == [f"{k}: {count:,}" for k, count in enumerate(counts)]
    for height, _ in drawn:
        assert 0 <= height <= 166.05
    largest = max(counts)
    assert all(h == 0 for (h, _), count in zip(drawn, counts, strict=True) if not count)
    if largest:
        scale = max(h for h, _ in drawn) / largest
        assert all(
            h == pytest.approx(max(count * scale, 1.5), abs=0.1)
            for (h, _), count in zip(drawn, counts, strict=True)
            if count
        )


def test_labels_leave_each_other_room() -> None:
    figure = bars_svg("things", [Bar(f"{1000 * k}", 1) for k in range(40)])
    placed = [
        (float(x), text) for x, text in re.findall(r'<text x="([\d.]+)" [^>]*text-anchor="middle">(\d+)<', figure)
    ]
    assert 4 <= len(placed) <= 9
    assert all(b - a >= 30 for (a, _), (b, _) in pairwise(placed))


def test_hostile_labels_are_text() -> None:
    figure = bars_svg("<b>", [Bar("<script>", 1, '"onload="x')], "a & b")
    ET.fromstring(figure)
    assert "<script>" not in figure
    assert "<b>" not in figure


def test_nothing_to_count_draws_nothing() -> None:
    assert bars_svg("things", []) == ""


def facts(sizes: list[tuple[int, int]], formats: list[str], readable: bool = True) -> Facts:
    count = len(sizes)
    return Facts(
        readable=np.full(count, readable), content=np.zeros(count, np.uint64), pixels=np.zeros(count, np.uint64),
        looks=np.zeros(count, np.uint64), thumbs=np.zeros((count, 16, 16), np.uint8), sizes=np.array(sizes, np.int32),
        modes=("RGB",) * count, formats=tuple(formats), animated=np.zeros(count, bool),
        tones=np.tile(np.array([255, 127.5, 0, 255], np.float32), (count, 1)), reasons={},
    )  # fmt: skip


def test_every_image_is_in_one_bar_of_each_figure() -> None:
    sizes = [(1, 1), (7, 90), (32, 32), (47, 300), (48, 48), (9000, 100), (480, 640), (3, 9000)]
    figures = distributions_svg(facts(sizes, ["PNG", "JPEG"] * 4)).split("\n<figure")
    assert len(figures) == 6
    for figure in figures:
        text = figure if figure.startswith("<figure") else f"<figure{figure}"
        assert sum(int(tip.rsplit(": ", 1)[1]) for _, tip in columns(text)) == 8
    assert "32 to 47 px: 2" in figures[0]
    assert "48 to 63 px: 1" in figures[0]
    assert "about 1:1: 3" in figures[1]
    assert "about 4:3: 1" in figures[1]


def test_arrays_have_no_file_format_and_nothing_readable_has_no_figures() -> None:
    assert "File format" not in distributions_svg(facts([(8, 8)], [""]))
    assert distributions_svg(facts([(8, 8)], ["PNG"], readable=False)) == ""
