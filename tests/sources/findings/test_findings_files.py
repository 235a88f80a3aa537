from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.sources.findings import Finding

Names = Callable[[Finding], list[str]]


@pytest.fixture(autouse=True)
def _good_images(photo) -> None:
    for seed in range(4):
        photo(f"{'ab'[seed % 2]}/{seed}.png", seed)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp", "tif"])
def test_truncated_file_is_also_unreadable(photo, found, names: Names, ending: str) -> None:
    path = photo(f"a/cut.{ending}", 9)
    path.write_bytes(path.read_bytes()[:-200])
    for kind in ("unreadable", "truncated"):
        (finding,) = found(kind)
        assert (names(finding), finding.severity) == ([f"a/cut.{ending}"], "error")
        assert "truncated" in finding.message


def test_empty_file_is_also_unreadable(found, names: Names, tmp_path: Path) -> None:
    (tmp_path / "data" / "a" / "none.jpg").touch()
    assert [names(f) for f in found("unreadable", "empty")] == [["a/none.jpg"]] * 2


def test_file_that_is_no_image_is_also_unreadable(found, names: Names, tmp_path: Path) -> None:
    (tmp_path / "data" / "a" / "error.jpg").write_text("<html>404</html>")
    assert [names(f) for f in found("unreadable", "not_an_image")] == [["a/error.jpg"]] * 2


def test_decompression_bomb_is_also_unreadable(found, names: Names, tmp_path: Path) -> None:
    Image.new("1", (15_000, 10_000)).save(tmp_path / "data" / "a" / "bomb.png")
    bomb, unreadable = found("unreadable", "bomb")[::-1]
    assert names(bomb) == names(unreadable) == ["a/bomb.png"]
    assert "at most 100 million" in bomb.message


def test_broken_link_is_unreadable_and_nothing_else(found, names: Names, tmp_path: Path) -> None:
    os.symlink("gone.png", tmp_path / "data" / "a" / "link.png")
    assert [names(f) for f in found("unreadable", "truncated", "empty", "not_an_image", "bomb")] == [["a/link.png"]]


@pytest.mark.parametrize("name", ["two words.png", "new\nline.png", "猫.png", "quote\"'<b>.png", "x" * 250 + ".png"])
def test_strange_names_are_told_as_they_are(found, names: Names, tmp_path: Path, name: str) -> None:
    (tmp_path / "data" / "a" / name).touch()
    assert names(found("empty")[0]) == [f"a/{name}"]


def test_name_that_is_no_text_is_told(found, tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path / "data" / "a"), b"\xff.png"), "wb"):
        pass
    assert found("empty")[0].paths[0].endswith("a/\udcff.png")


def test_animation_is_told(found, names: Names, tmp_path: Path, scene) -> None:
    frames = [scene(seed).convert("P") for seed in (20, 21)]
    frames[0].save(tmp_path / "data" / "a" / "move.gif", save_all=True, append_images=frames[1:])
    (finding,) = found("animated")
    assert (names(finding), finding.severity) == (["a/move.gif"], "warning")


def test_ways_of_storing_that_need_a_choice_are_told(found, names: Names, tmp_path: Path, scene) -> None:
    scene(30).convert("CMYK").save(tmp_path / "data" / "a" / "print.jpg")
    deep = np.random.default_rng(0).integers(0, 65536, (30, 30), np.uint16)
    Image.fromarray(deep).save(tmp_path / "data" / "b" / "scan.png")
    assert [names(f) for f in found("odd_mode")] == [["a/print.jpg"], ["b/scan.png"]]


def test_few_images_stored_otherwise_are_told(found, names: Names, photo, tmp_path: Path, scene) -> None:
    for seed in range(100, 140):
        photo(f"b/{seed}.png", seed)
    scene(30).convert("L").save(tmp_path / "data" / "a" / "grey.png")
    (finding,) = found("odd_mode")
    assert names(finding) == ["a/grey.png"]
    assert finding.message == "1 image is stored as L, most others as RGB; all become RGB of 8 bits"


def test_sound_images_have_no_findings(found) -> None:
    assert found("unreadable", "truncated", "empty", "not_an_image", "bomb", "animated", "odd_mode") == []
