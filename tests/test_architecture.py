"""The page on the architecture shows the house as the code has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def maker(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(DOCS / "make_architecture.py")


def test_drawing_is_that_of_the_code(maker: ModuleType) -> None:
    drawn = maker.PICTURE.read_text(encoding="utf-8")
    assert drawn == maker.make_picture(), "the rooms have changed: python docs/make_architecture.py"


def test_table_has_the_rooms_in_their_order_with_their_halves(maker: ModuleType) -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)` \| (\w*) *\| [^|]+\|$", page, re.MULTILINE)
    rooms = maker.read_rooms()
    assert rows == [(room, half) for room, half in rooms.items() if room != "__main__"]


def test_every_room_is_drawn_once_and_none_hides_another(maker: ModuleType) -> None:
    picture = maker.PICTURE.read_text(encoding="utf-8")
    names = re.findall(r">(\w+)</text>", picture)
    assert sorted(names) == sorted(set(maker.read_rooms()) - {"__main__"})
    boxes = re.findall(r'<rect x="(-?\d+)" y="(\d+)" width="(\d+)"', picture)
    places = sorted((int(y), int(x), int(x) + int(width)) for x, y, width in boxes)
    assert all(end <= start for (y0, _, end), (y1, start, _) in pairwise(places) if y0 == y1)


def test_arrows_that_follow_from_others_are_left_out(maker: ModuleType) -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert maker.reduce_arrows(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_a_room_stands_right_under_the_lowest_that_imports_it(maker: ModuleType) -> None:
    arrows = {"top": {"long", "low"}, "long": {"low"}, "extra": {"low"}, "low": set()}
    assert maker.make_tiers(arrows) == [["top"], ["long", "extra"], ["low"]]


def test_crossings_are_counted_and_untangled(maker: ModuleType) -> None:
    pieces = {"a": {"y"}, "b": {"x"}}
    assert maker.count_crossings([["a", "b"], ["x", "y"]], pieces) == 1
    assert maker.count_crossings(maker.untangle([["a", "b"], ["x", "y"]], pieces), pieces) == 0
