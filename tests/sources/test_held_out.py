from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.sources.held_out import hold_out


@pytest.fixture
def without_test(color_folder: Path, tmp_path: Path) -> Path:
    """``train/`` and ``val/`` as somebody split them."""
    shutil.copytree(color_folder, tmp_path / "data", ignore=shutil.ignore_patterns("test"))
    return tmp_path / "data"


def paths(source: Source, split: str) -> set[str]:
    return set(source.splits[split].paths)  # type: ignore[index]


def test_held_out_images_come_out_of_train_and_nothing_else_changes(without_test: Path) -> None:
    source = open_source(without_test)
    cut = hold_out(source, 0.3)
    assert paths(cut, "train") | paths(cut, "test") == paths(source, "train")
    assert not paths(cut, "train") & paths(cut, "test")
    assert paths(cut, "test")
    assert paths(cut, "val") == paths(source, "val")
    assert cut.own_splits == (*source.own_splits, "test")
    assert cut.fingerprint != source.fingerprint
    assert cut.classes == source.classes


def test_the_same_images_are_held_out_whatever_is_added(
    without_test: Path, paint: Callable[[Path, str, int], Path]
) -> None:
    before = hold_out(open_source(without_test), 0.3)
    paint(without_test / "train" / "red" / "new.png", "red", 4321)
    after = hold_out(open_source(without_test), 0.3)
    assert paths(before, "test") <= paths(after, "test")
    assert paths(before, "train") <= paths(after, "train")


def test_copies_stay_on_one_side(without_test: Path) -> None:
    for file in sorted((without_test / "train" / "blue").glob("*.png")):
        shutil.copyfile(file, file.with_name(f"copy-{file.name}"))
    cut = hold_out(open_source(without_test), 0.4)
    held = {Path(path).name.removeprefix("copy-") for path in paths(cut, "test") if "/blue/" in path}
    kept = {Path(path).name.removeprefix("copy-") for path in paths(cut, "train") if "/blue/" in path}
    assert held
    assert not held & kept


def test_train_that_an_earlier_cut_left_is_cut_as_well(color_folder: Path, tmp_path: Path) -> None:
    """Validation took the upper end of the hashes; what is held out must not look for images there."""
    shutil.copytree(color_folder / "train", tmp_path / "data" / "train")
    source = open_source(tmp_path / "data")
    assert source.own_splits == ("train", "val") or "val" in source.own_splits
    cut = hold_out(source, 0.3)
    assert len(cut.splits["test"]) > 0
    assert not paths(cut, "test") & paths(cut, "val")


def test_data_with_a_test_split_stays_as_it_is(color_folder: Path) -> None:
    source = open_source(color_folder)
    assert hold_out(source, 0.3) is source


def test_no_part_leaves_the_data_as_it_is(without_test: Path) -> None:
    source = open_source(without_test)
    assert hold_out(source, 0.0) is source


def test_labels_and_images_stay_together(without_test: Path) -> None:
    cut = hold_out(open_source(without_test), 0.3)
    split = cut.splits["test"]
    for path, label in zip(split.paths, split.labels, strict=True):
        assert Path(path).parent.name == cut.classes[label]
    brightest = [int(np.argmax(split.read(index).mean(axis=(0, 1)))) for index in range(len(split))]
    assert [cut.classes[label] for label in split.labels] == [("red", "green", "blue")[one] for one in brightest]
