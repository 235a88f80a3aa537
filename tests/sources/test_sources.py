from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DataError
from featherlight.sources import open_images, open_source
from featherlight.sources.arrays import array_split
from featherlight.sources.base import Split, sample

MakeImages = Callable[..., list[Path]]


@pytest.mark.parametrize("data", ["nowhere", "", "digitz", "x" * 5000, "nul\0", "~nobody-of-this-name/x"])
def test_neither_path_nor_name_lists_the_known_names(data: str) -> None:
    with pytest.raises(DataError, match="the path does not exist, and the known names are digits, cifar10, cifar100"):
        open_source(data)


def test_existing_path_comes_before_a_known_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_images: MakeImages
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        make_images(tmp_path / "digits" / name, 40)
    assert open_source("digits").classes == ("cat", "dog")
    assert open_source("digits").name == str(tmp_path / "digits")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_images: MakeImages) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("cat", "dog"):
        make_images(tmp_path / "pets" / name, 40)
    assert open_source("~/pets").name == str(tmp_path / "pets")
    assert len(open_images(["~/pets"])) == 80


@pytest.mark.parametrize(("name", "advice"), [("a.zip", "unpack it"), ("a.png", "give a folder of images")])
def test_file_that_is_no_data_set_gets_advice(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name}: is a file; {advice}"):
        open_source(tmp_path / name)


# ---- open_images


def test_files_folders_and_globs_become_paths_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_images: MakeImages
) -> None:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "b", 2)
    make_images(tmp_path / "a" / "deep", 2)
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "odd.name").touch()
    deep = ["a/deep/000.png", "a/deep/001.png"]
    assert open_images(["odd.name", "b", Path("a")]) == ["odd.name", "b/000.png", "b/001.png", *deep]
    assert open_images(["b/*1.png", "**/*0.png"]) == ["b/001.png", "a/deep/000.png", "b/000.png"]
    assert open_images(["a/*"]) == deep  # the text file is passed over, the folder entered
    assert open_images([str(tmp_path / "b")]) == [f"{tmp_path}/b/000.png", f"{tmp_path}/b/001.png"]
    assert open_images([]) == []


def test_name_that_looks_like_a_pattern_is_taken_literally_first(tmp_path: Path, make_images: MakeImages) -> None:
    file = make_images(tmp_path, 1)[0].rename(tmp_path / "a[1]*?.png")
    assert open_images([file]) == [str(file)]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.png", "no such file or folder"),
        ("empty", "the folder holds no image"),
        ("*.gif", "the pattern matches no image"),
        ("*.txt", "the pattern matches no image"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError) as error:
        open_images([path])
    assert str(error.value) == f"{path}: {reason}"


# ---- sample


def test_sample_is_spread_evenly_and_stays_in_one_shard_where_shards_are_fetched() -> None:
    read = array_split(np.zeros((90, 2, 2, 3), np.uint8), np.zeros(90, np.int64), ["x"] * 90).read
    shards = np.repeat(np.arange(9), 10)
    near = Split(np.zeros(90, np.int64), ("x",) * 90, read, shards=shards)
    assert sample(near, 4) == [0, 29, 59, 89]
    assert sample(near, 900) == list(range(90))
    assert sample(dataclasses.replace(near, bring=print), 4) == [80, 83, 86, 89]
