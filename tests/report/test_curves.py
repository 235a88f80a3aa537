from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from featherlight.report import curves_svg, write_curves
from featherlight.report.curves import round_ticks


def epochs(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "epoch": i, "step": 10 * i, "images_seen": 100 * i, "seconds": 2.0 * i, "images_per_s": 50.0,
            "learning_rate": 0.1 / i, "train_loss": 2 / i, "val_loss": 2.5 / i, "val_top1": 1 - 0.9 / i, **changes,
        }
        for i in range(1, count + 1)
    ]  # fmt: skip


def figures(history: list[dict[str, Any]]) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<div>{curves_svg(history)}</div>"))


def line_points(figure: ElementTree.Element, name: str) -> list[tuple[float, float]]:
    (line,) = (path for path in figure.iter("path") if path.get("class") == f"line {name}")
    steps = line.attrib["d"].replace("h0", "").replace("M", "L").split("L")[1:]
    return [(float(x), float(y)) for x, y in (step.split() for step in steps)]


def test_page_has_loss_accuracy_and_learning_rate() -> None:
    titles = [figure.findtext("figcaption") or figure.find("figcaption").text for figure in figures(epochs(3))]
    assert titles == ["Loss", "Accuracy", "Learning rate"]


def test_curve_falls_where_loss_falls_and_stays_inside_the_picture() -> None:
    loss = figures(epochs(30))[0]
    points = line_points(loss, "train")
    assert len(points) == 30
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(points))  # y grows downwards
    assert all(44 <= x <= 330 and 10 <= y <= 176 for x, y in points)


def test_a_first_loss_of_sixty_does_not_flatten_the_rest() -> None:
    history = epochs(12)
    history[0]["val_loss"] = 61.4
    loss = figures(history)[0]
    train = line_points(loss, "train")
    assert train[2][1] - train[11][1] < -50  # pixels: from 0.67 to 0.17 is still seen
    assert line_points(loss, "validation")[0][1] == 10  # at the upper edge
    assert next(loss.iter("title")).text == "epoch 1: train 2, validation 61.4"


@pytest.mark.parametrize("count", [1, 2, 500])
def test_every_epoch_has_its_numbers_as_tooltip(count: int) -> None:
    history = epochs(count)
    titles = [title.text for title in figures(history)[1].iter("title")]
    assert len(titles) == count
    assert titles[0] == "epoch 1: validation 10%"


def test_one_epoch_is_a_dot() -> None:
    dots = list(figures(epochs(1))[0].iter("circle"))
    assert [dot.get("class") for dot in dots] == ["dot train", "dot validation"]


def test_unknown_values_leave_a_gap() -> None:
    history = epochs(5)
    history[2].update(val_loss=math.nan, train_loss=None)
    loss = figures(history)[0]
    assert len(line_points(loss, "train")) == len(line_points(loss, "validation")) == 4
    assert "nan" not in curves_svg(history)
    assert [title.text for title in loss.iter("title")][2] == "epoch 3: train unknown, validation unknown"


def test_nothing_known_draws_nothing() -> None:
    assert curves_svg([]) == ""
    assert len(figures(epochs(3, val_top1=None))) == 2


@pytest.mark.parametrize("other", [0.9, 0.9 + 1e-15])
def test_flat_curve_is_drawn_inside_the_picture(other: float) -> None:
    history = epochs(2, val_top1=0.9)
    history[1]["val_top1"] = other
    (_, first), (_, last) = line_points(figures(history)[1], "validation")
    assert first == last
    assert 10 <= first <= 176


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_ticks_enclose_the_values_in_few_steps(one: float, other: float) -> None:
    assume(one == other or not math.isclose(one, other, rel_tol=1e-6))
    low, high = min(one, other), max(one, other)
    ticks = round_ticks(low, high)
    slack = 1e-8 * (ticks[1] - ticks[0])
    assert ticks[0] <= low + slack
    assert high - slack <= ticks[-1]
    assert 2 <= len(ticks) <= 6
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6, atol=1e-9 * high)


@pytest.mark.parametrize("count", [1, 30])
def test_png_shows_two_charts(tmp_path: Path, count: int) -> None:
    write_curves(tmp_path / "curves.png", epochs(count))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    teal = np.abs(pixels - [0x0F, 0x76, 0x6E]).sum(axis=2) < 10
    half = teal.shape[1] // 2
    assert teal[:, :half].any()
    assert teal[:, half:].any()


def test_png_of_no_epochs_is_not_written(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.png", [])
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_picture_says_what_to_install(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["matplotlib"] = sys.modules["torch"] = None  # importing them raises
from pathlib import Path
from featherlight.errors import MissingExtraError
from featherlight.report import curves_svg, write_curves
row = {"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_top1": 0.5, "learning_rate": 0.1}
assert "<svg" in curves_svg([row])
try:
    write_curves(Path(sys.argv[1]), [row])
except MissingExtraError as error:
    print(error)
"""
    target = tmp_path / "curves.png"
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'curves.png needs matplotlib, which is not installed. Run: pip install "featherlight[train]"'
    )
    assert not target.exists()
