from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from featherlight.report.channel_shuffle import ChannelShuffle
from featherlight.report.shuffle_picture import shuffle_svg

SVG = "{http://www.w3.org/2000/svg}"


def panels(svg: str) -> list[ET.Element]:
    """Without and with shuffle."""
    root = ET.fromstring(svg)
    return [group for group in root.iter(f"{SVG}g") if "huffle" in (group.findtext(f"{SVG}text") or "")]


def names(panel: ET.Element) -> list[str]:
    return [text.text or "" for text in panel.iter(f"{SVG}text") if re.fullmatch(r"[a-z]+\d+", text.text or "")]


def threads(panel: ET.Element) -> list[tuple[float, float, str]]:
    """Where each channel's line starts and ends, and its colour."""
    found = []
    for path in panel.iter(f"{SVG}path"):
        if match := re.fullmatch(r"M(\S+) \S+C.* (\S+) \S+", path.attrib["d"]):
            found.append((float(match[1]), float(match[2]), path.attrib["stroke"]))
    return found


def test_boxes_carry_the_articles_names_in_order() -> None:
    without, shuffled = panels(shuffle_svg(ChannelShuffle(groups=3, channels=15)))
    plain = "a1 a2 a3 a4 a5 b1 b2 b3 b4 b5 c1 c2 c3 c4 c5"
    assert " ".join(names(without)) == f"{plain} {plain}"
    assert " ".join(names(shuffled)) == f"{plain} a1 b1 c1 a2 b2 c2 a3 b3 c3 a4 b4 c4 a5 b5 c5"


def test_lines_lead_from_a_channel_to_its_new_place() -> None:
    shuffle = ChannelShuffle(groups=3, channels=15)
    without, shuffled = map(threads, panels(shuffle_svg(shuffle)))
    places = sorted(start for start, _, _ in without)
    assert [(start, end) for start, end, _ in without] == [(place, place) for place in places]
    assert [(start, end) for start, end, _ in shuffled] == [
        (places[source], places[place]) for place, source in enumerate(shuffle.order)
    ]
    assert len({colour for _, _, colour in shuffled}) == 3


def test_outputs_show_the_groups_they_are_made_from() -> None:
    svg = shuffle_svg(ChannelShuffle(groups=2, channels=4))
    colours = []
    for panel in panels(svg):
        boxes = list(panel.iter(f"{SVG}rect"))
        lowest = [box for box in boxes if float(box.attrib["y"]) > 320]
        colours.append([box.attrib["fill"] for box in lowest])
    first, second = "#0f766e", "#d97706"
    assert colours == [[first, first, second, second], [first, second] * 4]


@pytest.mark.parametrize(("groups", "channels"), [(1, 1), (3, 15), (8, 384), (40, 40), (3, 960)])
def test_everything_is_inside_the_picture(groups: int, channels: int) -> None:
    root = ET.fromstring(shuffle_svg(ChannelShuffle(groups, channels)))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for group in root.iter(f"{SVG}g"):
        x, y = map(float, re.findall(r"[\d.]+", group.attrib["transform"]))
        for box in group.iter(f"{SVG}rect"):
            left = x + float(box.attrib["x"])
            assert left >= 0
            assert left + float(box.attrib["width"]) <= width
            assert y + float(box.attrib["y"]) + float(box.attrib["height"]) <= height
    assert width <= 4000
