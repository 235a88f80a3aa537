from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.sources import open_source
from featherlight.sources.leaks import find_leaks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``train/ val/ test/`` with two classes of scenes that have nothing to do with each other."""
    seeds = iter(range(1000))
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for name in ("a", "b"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                coarse = np.random.default_rng(next(seeds)).integers(0, 256, (6, 8, 3), np.uint8)
                image = Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)
                image.save(folder / f"{number}.png")
    return tmp_path / "data"


def leaks_of(root: Path) -> list[tuple[str, str, str, bool]]:
    return [
        (str(Path(leak.train).relative_to(root)), str(Path(leak.other).relative_to(root)), leak.split, leak.is_exact)
        for leak in find_leaks(open_source(root))
    ]


def test_clean_splits_have_no_leaks(root: Path) -> None:
    assert leaks_of(root) == []


def test_the_same_pixels_in_another_format_and_class_are_an_exact_leak(root: Path) -> None:
    Image.open(root / "train/a/3.png").save(root / "test/b/copy.bmp")
    assert leaks_of(root) == [("train/a/3.png", "test/b/copy.bmp", "test", True)]


def test_changed_copies_are_near_leaks_and_come_behind_the_exact_ones(root: Path) -> None:
    Image.open(root / "train/a/3.png").resize((60, 45)).save(root / "val/a/small.jpg")
    shutil.copy(root / "train/b/0.png", root / "test/b/same.png")
    assert leaks_of(root) == [
        ("train/b/0.png", "test/b/same.png", "test", True),
        ("train/a/3.png", "val/a/small.jpg", "val", False),
    ]


def test_an_image_of_another_split_is_named_once(root: Path) -> None:
    for name in ("x", "y"):
        shutil.copy(root / "train/a/1.png", root / f"train/a/{name}.png")
    shutil.copy(root / "train/a/1.png", root / "val/a/1 copy.png")
    assert leaks_of(root) == [("train/a/1.png", "val/a/1 copy.png", "val", True)]


def test_copies_within_a_split_and_between_val_and_test_are_no_leaks_of_train(root: Path) -> None:
    shutil.copy(root / "train/a/1.png", root / "train/a/copy.png")
    shutil.copy(root / "val/a/1.png", root / "test/a/copy.png")
    assert leaks_of(root) == []


def test_our_own_validation_split_is_not_suspected(root: Path) -> None:
    shutil.rmtree(root / "val")
    assert leaks_of(root) == []
    shutil.copy(root / "train/a/1.png", root / "test/a/copy.png")
    (leak,) = leaks_of(root)
    assert leak[1:] == ("test/a/copy.png", "test", True)


def test_unreadable_copies_are_passed_over(root: Path) -> None:
    for split in ("train", "val"):
        (root / split / "a" / "broken.png").write_bytes(b"nothing")
    assert leaks_of(root) == []
