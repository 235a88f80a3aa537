from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DataError, UsageError
from featherlight.sources import open_source
from featherlight.sources.findings import Checked, Finding
from featherlight.sources.findings.checked import NOWHERE
from featherlight.sources.findings.survey import survey_data

Names = Callable[[Finding], list[str]]
FLAT = [f"{name}/{seed}.png" for name in "abc" for seed in range(40)]


@pytest.fixture
def photos(photo) -> Callable[..., None]:
    def write(*names: str) -> None:
        for seed, name in enumerate(names):
            photo(name, seed)

    return write


def files(*folders: str, count: int = 3) -> list[str]:
    return [f"{folder}/{k}.png" for folder in folders for k in range(count)]


def test_flat_folder_is_split_as_training_splits_it(photos, checked, tmp_path: Path) -> None:
    photos(*FLAT)
    looked: Checked = checked()
    source = open_source(tmp_path / "data")
    for place, split in enumerate(("train", "val", "test")):
        chosen = np.flatnonzero(looked.splits == place)
        assert looked.paths(chosen) == source.splits[split].paths
    assert looked.survey.sides.tolist() == [0] * 120
    assert looked.counts().sum(axis=1).tolist() == [40, 40, 40]


def test_train_and_test_without_val_is_split_as_training_splits_it(photos, checked, tmp_path: Path) -> None:
    photos(*[f"train/{name}" for name in FLAT], *files("test/a", "test/b", "test/c"))
    looked: Checked = checked()
    source = open_source(tmp_path / "data")
    for place, split in enumerate(("train", "val", "test")):
        assert set(looked.paths(np.flatnonzero(looked.splits == place))) == set(source.splits[split].paths)
    assert looked.present_splits() == ["train", "val", "test"]


def test_paths_are_as_the_person_named_the_folder(photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(*files("a", "b"))
    monkeypatch.chdir(tmp_path)
    assert survey_data("data").images.paths[0] == "data/a/0.png"
    assert survey_data("data/").images.paths[0] == "data/a/0.png"
    assert survey_data("./data").images.paths[0] == "./data/a/0.png"
    assert survey_data(str(tmp_path / "data")).images.paths[0] == str(tmp_path / "data/a/0.png")
    assert all(os.path.isfile(path) for path in survey_data("data").images.paths)


def test_good_layouts_have_no_findings(photos, found) -> None:
    photos(*files("train/a", "train/b", "val/a", "val/b", count=20))
    assert found("layout", "missing_class", "ignored") == []


def test_single_class_is_an_error(photos, found) -> None:
    photos(*files("a"))
    (finding,) = [f for f in found("layout") if "only one class" in f.message]
    assert (finding.severity, finding.classes) == ("error", ("a",))


def test_empty_class_folder_is_an_error(photos, found, names: Names, tmp_path: Path) -> None:
    photos(*FLAT)
    (tmp_path / "data/empty").mkdir()
    (finding,) = found("missing_class")
    assert (finding.severity, finding.classes, names(finding)) == ("error", ("empty",), ["empty"])


def test_class_that_train_lacks_is_an_error(photos, found, names: Names) -> None:
    photos(*files("train/a", "train/b", "val/a", "val/b", "val/c"))
    (finding,) = found("missing_class")
    assert (finding.severity, finding.classes, names(finding)) == ("error", ("c",), ["val/c"])
    assert "training refuses" in finding.message


def test_class_that_val_lacks_is_a_warning(photos, found) -> None:
    photos(*files("train/a", "train/b", "train/c", "val/a", "test/a", "test/b", "test/c"))
    (finding,) = found("missing_class")
    assert (finding.severity, finding.classes) == ("warning", ("b", "c"))


def test_loose_images_alone_are_an_error_and_still_looked_at(photos, found, checked) -> None:
    photos("1.png", "2.png")
    shutil.copy(checked().survey.images.paths[0], os.path.dirname(checked().survey.images.paths[0]) + "/3.png")
    (finding,) = found("layout")
    assert (finding.severity, len(finding.paths)) == ("error", 3)
    assert "without class folders" in finding.message
    assert len(found("duplicate")) == 1
    assert checked().survey.images.labels.tolist() == [NOWHERE] * 3


def test_loose_images_beside_class_folders_are_a_warning(photos, found, names: Names) -> None:
    photos(*FLAT, "x.png", "y.png")
    (finding,) = found("layout")
    assert (finding.severity, names(finding)) == ("warning", ["x.png", "y.png"])


def test_images_beside_split_folders_are_a_warning(photos, found, names: Names) -> None:
    photos(*files("train/a", "train/b", "val/a", "val/b"), "more/a/0.png", "lost.png")
    assert [(f.severity, names(f)) for f in found("layout")] == [("warning", ["lost.png"]), ("warning", ["more"])]


def test_split_folders_without_train_are_an_error(photos, found, checked) -> None:
    photos(*files("val/a", "val/b", "test/a", "test/b"))
    (finding,) = found("layout")
    assert (finding.severity, "no train/" in finding.message) == ("error", True)
    assert checked().counts().tolist() == [[0, 3, 3], [0, 3, 3]]


def test_two_folders_for_one_split_are_an_error(photos, found, names: Names, checked) -> None:
    photos(*files("train/a", "train/b", "val/a", "val/b", "validation/a", "validation/b"))
    (finding,) = found("layout")
    assert (finding.severity, names(finding)) == ("error", ["val", "validation"])
    assert checked().counts().tolist() == [[3, 6, 0], [3, 6, 0]]


def test_too_few_images_to_split_are_an_error(photos, found) -> None:
    photos("a/1.png", "b/1.png")
    errors = [f for f in found("layout", "missing_class") if f.severity == "error"]
    assert errors
    assert any("too few to set some aside" in f.message or "without an image in train" in f.message for f in errors)


def test_nothing_readable_is_an_error(found, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").touch()
    assert "not one image can be read" in [f.message for f in found("layout")]
    assert len(found("unreadable")) == 2


@pytest.mark.parametrize("make", [lambda data: data.mkdir(), lambda data: (data / "a").mkdir(parents=True)])
def test_folder_without_images_cannot_be_checked(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match="no images"):
        survey_data(str(tmp_path / "data"))


def test_missing_path_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the path does not exist"):
        survey_data(str(tmp_path / "data"))


def test_group_pattern_that_fits_nothing_is_refused(photos, tmp_path: Path) -> None:
    photos(*files("a", "b"))
    with pytest.raises(UsageError, match="is found in none"):
        survey_data(str(tmp_path / "data"), "person")
    assert survey_data(str(tmp_path / "data"), r"\d").images.groups == ("0", "1", "2") * 2


def test_files_that_are_not_looked_at_are_told_by_ending(photos, found, names: Names, tmp_path: Path) -> None:
    photos(*FLAT)
    data = tmp_path / "data"
    (data / "a/phone.HEIC").write_bytes(b"x")
    (data / "a/notes.txt").write_text("BMW")
    shutil.copy(data / "a/0.png", data / "b/no ending")
    (data / ".hidden.txt").touch()
    told = [(f.severity, names(f)) for f in found("ignored")]
    assert told == [("warning", ["a/phone.HEIC"]), ("warning", ["b/no ending"]), ("note", ["a/notes.txt"])]


def test_links_in_circles_end(photos, found, tmp_path: Path) -> None:
    photos(*files("a", "b"))
    os.symlink("..", tmp_path / "data/a/up")
    os.symlink("self", tmp_path / "data/b/self.png")
    assert {Path(f.paths[0]).name for f in found("unreadable")} == {"self.png"}


@pytest.mark.skipif(os.geteuid() == 0, reason="this user may read everything")
def test_folder_that_cannot_be_listed_is_told(photos, found, names: Names, tmp_path: Path) -> None:
    photos(*files("a", "b"))
    (tmp_path / "data/b").chmod(0)
    try:
        assert [names(f) for f in found("unreadable")] == [["b"]]
    finally:
        (tmp_path / "data/b").chmod(0o700)


def test_digits_leak_nothing_between_splits_cut_by_hash(checked) -> None:
    survey = survey_data("digits")
    assert set(survey.sides.tolist()) == {0}
    assert set(survey.splits.tolist()) == {0, 1, 2}
    assert not survey.flip_safe
