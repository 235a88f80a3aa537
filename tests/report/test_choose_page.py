from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from featherlight.choosing import Candidate, Choice, Limits, Pick
from featherlight.report.choose_page import pareto_svg, race_chart, write_choose_page


def candidate(name: str, latency_ms: float | None, accuracy: float | None, dropped: str | None = None) -> Candidate:
    curve = ((10.0, 0.4), (30.0, accuracy)) if accuracy is not None else ()
    return Candidate(name, name, 96, {}, latency_ms, 900_000, 7_000_000, 200_000, 0.6, accuracy, 30.0, dropped, curve)


PICK = Pick(
    "fast", "fast", 96, 0.9, (0.85, 0.94), "test", 177, 0.92, 1.5, 900_000, 7_000_000, 200_000, 1.0,
    ("/out/onnx/model.onnx", "/out/runs/fast/model.safetensors"), "/out/runs/fast",
)  # fmt: skip
CHOICE = Choice(
    "/data/<photos>", ("cat", "dog"), {"time_s": 60.0},
    (candidate("fast", 1.5, 0.92), candidate("slow", 4.0, 0.95), candidate("huge", 9, None, "9 ms where 5 ms are <b>")),
    PICK, "Take fast & be happy.", ("advice",), True, "a machine", 61.0, ("a note",), "featherlight choose",
    Limits(latency_ms=5.0, accuracy=0.8),
)  # fmt: skip


def page_of(choice: Choice, tmp_path: Path) -> str:
    write_choose_page(tmp_path / "choose.html", choice)
    return (tmp_path / "choose.html").read_text(encoding="utf-8")


def test_page_tells_the_answer_the_limits_and_who_was_left_out(tmp_path: Path) -> None:
    page = page_of(CHOICE, tmp_path)
    for text in ("Take fast &amp; be happy.", "90.0%", "at most 5 ms", "at least 80.0%", "Left out: 1", "a note"):
        assert text in page
    assert "9 ms where 5 ms are &lt;b&gt;" in page
    assert "<photos>" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_page_without_a_pick_says_so_and_shows_why(tmp_path: Path) -> None:
    page = page_of(replace(CHOICE, pick=None, reached=False, candidates=CHOICE.candidates[2:]), tmp_path)
    assert "No network that was tried keeps these limits" in page
    assert '<details class="card" open>' in page


def test_picture_marks_the_pick_the_front_and_the_limit() -> None:
    picture = pareto_svg(CHOICE)
    assert picture.count("<circle") == 2
    assert picture.count('class="dot pick"') == 1
    assert 'class="limit"' in picture
    (front,) = re.findall(r'class="line" d="M([^"]*)"', picture)
    assert len(front.split("L")) == 2


def test_picture_needs_two_networks() -> None:
    assert pareto_svg(replace(CHOICE, candidates=CHOICE.candidates[:1])) == ""


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_networks_that_are_all_alike_can_be_drawn(accuracy: float) -> None:
    alike = tuple(candidate(name, 1.0, accuracy) for name in ("a", "b"))
    assert "nan" not in pareto_svg(replace(CHOICE, candidates=alike, limits=Limits()))


def test_race_has_a_line_for_each_network_that_was_trained() -> None:
    chart = race_chart(CHOICE.trained)
    assert [line.name for line in chart.lines] == ["fast", "slow"]
    assert list(chart.lines[0].x) == pytest.approx([10 / 60, 0.5])
