from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DataError, UsageError
from featherlight.sources import open_source
from featherlight.sources.cross_validation import pooled, read_fold, take_fold
from featherlight.sources.held_out import hold_out


@pytest.fixture(scope="module")
def flat_folder(tmp_path_factory, paint) -> Path:
    """Three classes of 12; of blue, every image but the last three is there twice."""
    root = tmp_path_factory.mktemp("flat")
    for colour in ("blue", "green", "red"):
        for k in range(12):
            paint(root / colour / f"{k:02}.png", colour, k)
    for k in range(9):
        (root / "blue" / f"{k:02}-copy.png").write_bytes((root / "blue" / f"{k:02}.png").read_bytes())
    return root


def test_every_image_is_measured_once_and_never_by_the_fold_that_learned_it(flat_folder):
    source = open_source(flat_folder)
    measured: list[str] = []
    for number in range(1, 5):
        fold = take_fold(source, f"{number}/4")
        train, val = (set(fold.splits[name].paths) for name in ("train", "val"))
        assert not train & val
        assert train | val == set(pooled(source).paths)
        measured += fold.splits["val"].paths
    assert sorted(measured) == sorted(pooled(source).paths)


def test_classes_are_spread_and_copies_stay_together(flat_folder):
    source = open_source(flat_folder)
    for number in range(1, 4):
        val = take_fold(source, f"{number}/3").splits["val"]
        assert np.bincount(val.labels, minlength=3)[1:].tolist() == [4, 4]
        names = {Path(path).name for path in val.paths if "blue" in path}
        assert all((f"{k:02}.png" in names) == (f"{k:02}-copy.png" in names) for k in range(9))


def test_groups_stay_together(tmp_path, paint):
    for split in ("train", "val"):
        for colour in ("blue", "red"):
            for k in range(12):
                paint(tmp_path / split / colour / f"person{k // 2}-{split}{k}.png", colour, k + 100 * (split == "val"))
    source = open_source(tmp_path, group_by=r"person\d")
    for number in (1, 2, 3):
        fold = take_fold(source, f"{number}/3")
        people = {name: {Path(path).name.partition("-")[0] for path in fold.splits[name].paths} for name in fold.splits}
        assert not people["train"] & people["val"]
        assert len(people["train"] | people["val"]) == 6


def test_a_given_test_split_is_left_alone(color_folder):
    source = open_source(color_folder)
    fold = take_fold(source, "1/4")
    assert fold.splits["test"].paths == source.splits["test"].paths
    assert not set(fold.splits["test"].paths) & {*fold.splits["train"].paths, *fold.splits["val"].paths}
    assert fold.fingerprint not in (source.fingerprint, take_fold(source, "2/4").fingerprint)


def test_no_fold_leaves_the_source_as_it_is(color_folder):
    source = hold_out(open_source(color_folder), 0.0)
    assert take_fold(source, "") is source


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "5", "1/101", "a/b", "1/5 "])
def test_what_is_no_fold_is_refused(text):
    with pytest.raises(UsageError, match="such as 1/5"):
        read_fold(text)


def test_more_folds_than_images_are_refused(tmp_path, paint):
    for colour in ("blue", "red"):
        for k in range(8):
            paint(tmp_path / "data" / colour / f"{k}.png", colour, k)
    with pytest.raises(DataError, match="cannot be dealt into 50 folds"):
        take_fold(open_source(tmp_path / "data"), "1/50")
