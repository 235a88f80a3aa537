from __future__ import annotations

from pathlib import Path

import pytest

from featherlight.sources.findings.shortcuts import LEAST_IMAGES

SQUARE = lambda k: dict.fromkeys(("width", "height"), 20 + 70 * (k % 2))  # noqa: E731
FLAT = lambda k: {"width": 60, "height": 60 - 25 * (k % 2)}  # noqa: E731


@pytest.mark.parametrize(
    ("ending", "size", "words"),
    [
        (lambda k: "png" if k % 2 else "bmp", lambda k: {}, "the file format alone tells the class of 100%"),
        (lambda k: "png", SQUARE, "the size alone tells the class of 100%"),
        (lambda k: "png", FLAT, "the shape alone tells the class of 100%"),
    ],
)
def test_property_that_gives_the_class_away_is_told(photo, found, ending, size, words: str) -> None:
    for k in range(LEAST_IMAGES):
        photo(f"{'ab'[k % 2]}/{k}.{ending(k)}", k, **size(k))
    assert any(f.message.startswith(words) for f in found("shortcut"))


def test_grey_class_is_told(tmp_path: Path, scene, found) -> None:
    for k in range(LEAST_IMAGES):
        path = tmp_path / f"data/{'ab'[k % 2]}/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(k).convert("L" if k % 2 else "RGB").save(path)
    (finding,) = found("shortcut")
    assert finding.message.startswith("whether images are grey alone tells the class of 100% of the images")
    assert "(most of grey are b)" in finding.message or "(most of colour are a)" in finding.message


def test_properties_spread_over_the_classes_are_not_told(photo, found) -> None:
    for k in range(LEAST_IMAGES):
        photo(f"{'ab'[k % 2]}/{k}.{'png' if k % 3 else 'bmp'}", k, width=20 + 9 * (k % 5), height=30 + 9 * (k % 4))
    assert found("shortcut") == []


def test_few_images_prove_nothing(photo, found) -> None:
    for k in range(LEAST_IMAGES - 2):
        photo(f"{'ab'[k % 2]}/{k}.{'png' if k % 2 else 'bmp'}", k)
    assert found("shortcut") == []
