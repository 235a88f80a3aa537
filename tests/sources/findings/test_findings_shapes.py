from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from featherlight.sources.findings import Finding

Names = Callable[[Finding], list[str]]
KINDS = ("too_small", "odd_size", "odd_shape", "blank", "dark", "bright")


@pytest.fixture(autouse=True)
def _usual_images(photo) -> None:
    for seed in range(4):
        photo(f"{'ab'[seed % 2]}/{seed}.png", seed)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Image.Image | np.ndarray], None]:
    def write(image: Image.Image | np.ndarray, name: str = "a/odd.png") -> None:
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(tmp_path / "data" / name)

    return write


def told(found, names: Names) -> list[tuple[str, str, list[str]]]:
    return [(f.kind, f.severity, names(f)) for f in found(*KINDS)]


def test_usual_images_have_no_findings(found, names: Names) -> None:
    assert told(found, names) == []


def test_images_smaller_than_the_input_are_told_the_smallest_first(photo, found, names: Names) -> None:
    photo("a/little.png", 9, width=31, height=40)
    photo("a/much.png", 10, width=15, height=40)
    photo("b/most.png", 11, width=7, height=9)
    small = found("too_small")
    assert [(f.severity, names(f)) for f in small] == [
        ("warning", ["b/most.png", "a/much.png"]),
        ("note", ["a/little.png"]),
    ]
    assert "the smallest has 7 x 9 pixels, the input 32 x 32" in small[0].message


def test_size_that_just_fits_is_not_small(photo, found) -> None:
    photo("a/fits.png", 9, width=32, height=32)
    assert found("too_small") == []
    assert len(found("too_small", input_size=33)[0].paths) == 1


@pytest.mark.parametrize(("width", "height", "is_odd"), [(120, 40, True), (40, 130, True), (110, 40, False)])
def test_long_and_high_images_are_told(photo, found, names: Names, width: int, height: int, is_odd: bool) -> None:
    photo("a/long.png", 9, width=width, height=height)
    assert told(found, names) == ([("odd_shape", "warning", ["a/long.png"])] if is_odd else [])


def test_originals_among_prepared_images_are_told(photo, found, names: Names) -> None:
    for seed in range(100, 140):
        photo(f"a/{seed}.png", seed)
    photo("b/large.png", 9, width=250, height=260)
    photo("b/larger.png", 10, width=400, height=300)
    assert told(found, names) == [("odd_size", "note", ["b/larger.png", "b/large.png"])]
    for seed in range(20, 24):
        photo(f"b/{seed}.png", seed, width=300, height=300)
    assert told(found, names) == []  # so many are no exception


@pytest.mark.parametrize("level", [0, 120, 255])
def test_single_colour_is_blank(found, names: Names, save, level: int) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (40, 40))
    save(np.clip(level + noise, 0, 255).astype(np.uint8))
    assert told(found, names) == [("blank", "warning", ["a/odd.png"])]


@pytest.mark.parametrize(("low", "high", "kind"), [(0, 30, "dark"), (232, 256, "bright")])
def test_nearly_black_and_white_images_are_told(found, names: Names, save, low: int, high: int, kind: str) -> None:
    save(np.random.default_rng(0).integers(low, high, (40, 40)).astype(np.uint8))
    assert told(found, names) == [(kind, "note", ["a/odd.png"])]


@pytest.mark.parametrize("background", ["black", "white"])
def test_thin_drawings_are_neither_blank_nor_dark(found, names: Names, save, background: str) -> None:
    image = Image.new("L", (200, 200), background)
    ImageDraw.Draw(image).line((20, 20, 180, 150), fill="white" if background == "black" else "black")
    save(image)
    assert told(found, names) == []
