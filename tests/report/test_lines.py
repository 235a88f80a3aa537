from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from featherlight.report.lines import COLOURS, Chart, Line, lines_svg, write_lines

NAN = float("nan")


def drawing(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{lines_svg(chart)}</div>")


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in drawing(chart).iter("text")]


def test_every_line_has_a_colour_a_name_and_tooltips() -> None:
    chart = Chart(
        "Loss", "epoch", [Line("a & b", [1, 2], [0.5, 0.25]), Line("c", [1, 2, 3], [1, 2, 3])], unit="epoch {}"
    )
    root = drawing(chart)
    assert [element.get("class") for element in root.iter("g")] == ["c0", "c1"]
    assert [element.text for element in root.iter("span")] == ["a & b", "c"]
    assert [element.text for element in root.iter("title")][:2] == ["a & b, epoch 1: 0.5", "a & b, epoch 2: 0.25"]
    assert root.find(".//svg").get("aria-label").startswith("Loss. a & b: 0.5 at epoch 1, 0.25 at epoch 2. c: ")


def test_marks_under_epochs_are_whole() -> None:
    under = texts(Chart("x", "epoch", [Line("a", [1, 2], [10, 20])]))
    assert under[-3:] == ["1", "2", "epoch"]
    assert texts(Chart("x", "minutes", [Line("a", [0.5, 1.0], [10, 20])]))[-1] == "minutes"
    assert "0.6" in texts(Chart("x", "minutes", [Line("a", [0.5, 1.0], [10, 20])]))


def test_line_without_points_keeps_its_colour_for_the_others() -> None:
    root = drawing(Chart("x", "epoch", [Line("none", [], []), Line("gone", [1], [NAN]), Line("seen", [1, 2], [1, 2])]))
    assert [element.get("class") for element in root.iter("g")] == ["c2"]
    assert [(element.text, element.get("class")) for element in root.iter("span")] == [("seen", "key c2")]


def test_forecast_is_dashed_and_intervals_are_whiskers() -> None:
    line = Line("a", [100, 200, 400, 800], [0.5, 0.6, 0.7, 0.75], [(0.4, 0.6)] * 4, forecast=1)
    root = drawing(Chart("x", "images", [line], percent=True, log=True))
    paths = {element.get("class"): element.get("d") or "" for element in root.iter("path")}
    assert paths["line"].count("L") == 2
    assert paths["line forecast"].count("L") == 1
    assert sum(element.get("class") == "whisker" for element in root.iter("path")) == 4
    x = [float(place) for place in re.findall(r"[ML]([\d.]+)", paths["line"])]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # doublings are equal steps
    assert {"100", "200", "400", "800", "50%"} <= {element.text for element in root.iter("text")}


def test_single_point_and_level_lines_can_be_drawn() -> None:
    assert "dot" in lines_svg(Chart("x", "epoch", [Line("a", [1], [0.5])]))
    assert "line" in lines_svg(Chart("x", "epoch", [Line("a", [1, 2], [0.5, 0.5])]))
    assert "line" in lines_svg(Chart("x", "images", [Line("a", [5, 10], [0, 0])], log=True))


def test_nothing_known_is_nothing_drawn(tmp_path: Path) -> None:
    assert lines_svg(Chart("x", "epoch", [Line("a", [1], [NAN])])) == ""
    write_lines(tmp_path / "x.png", [Chart("x", "epoch", [])])
    assert not (tmp_path / "x.png").exists()


def test_charts_become_a_picture(tmp_path: Path) -> None:
    lines = [Line(str(number), [1, 2], [number, 1]) for number in range(len(COLOURS) + 1)]
    write_lines(tmp_path / "x.png", [Chart("x", "epoch", lines), Chart("y", "min", lines, percent=True)])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
