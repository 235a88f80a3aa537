from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featherlight.errors import UsageError
from featherlight.sources import open_source
from featherlight.sources.arrays import array_split
from featherlight.sources.base import Split
from featherlight.sources.duplicates import Duplicates
from featherlight.sources.facts import Facts
from featherlight.sources.findings import Checked, Survey, find_all
from featherlight.sources.findings.cleaning import Cleaned, clean
from featherlight.sources.findings.manifest import refuse_unlisted, write_manifest

Rows = list[dict[str, str]]


@pytest.fixture
def fixed(checked: Callable[..., Checked], tmp_path: Path) -> Callable[..., tuple[Rows, Rows]]:
    """The rows of the cleaned manifest and of the list of what was left out; paths below ``data``."""

    def fix(**options: object) -> tuple[Rows, Rows]:
        looked = checked(**options)
        write_manifest(tmp_path / "fixed", looked, clean(looked))
        return tuple(read_rows(tmp_path, name) for name in ("manifest.csv", "removed.csv"))

    return fix


def read_rows(tmp_path: Path, name: str) -> Rows:
    with (tmp_path / "fixed" / name).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [
            {key: value.removeprefix(f"{tmp_path / 'data'}/") for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(autouse=True)
def _images(photo) -> None:
    seed = 0
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for name in ("cat", "dog"):
            for k in range(count):
                photo(f"{split}/{name}/{k}.png", seed)
                seed += 1


def test_sound_data_stays_whole(fixed, tmp_path: Path) -> None:
    kept, removed = fixed()
    assert removed == []
    assert len(kept) == 24
    assert kept[0] == {"path": "test/cat/0.png", "label": "cat", "split": "test"}
    assert {(row["split"], row["label"]) for row in kept} == {
        (s, n) for s in ("train", "val", "test") for n in ("cat", "dog")
    }


def test_everything_certain_is_left_out_and_nothing_is_changed(fixed, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train/cat/empty.png").touch()
    shutil.copy(data / "train/cat/0.png", data / "train/cat/copy.png")
    shutil.copy(data / "train/cat/1.png", data / "train/dog/conflict.png")
    shutil.copy(data / "train/cat/2.png", data / "val/cat/leak.png")
    shutil.copy(data / "val/dog/0.png", data / "test/dog/leak.png")
    Image.open(data / "train/dog/3.png").resize((40, 33)).save(data / "test/dog/near.png")
    shutil.copy(data / "train/dog/0.png", data / "loose.png")
    os.renames(data / "loose.png", data / "train/loose.png")
    (data / "val/fish").mkdir()
    Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 9).save(data / "val/fish/0.png")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    kept, removed = fixed()
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert sorted((row["path"], row["kind"], row["kept"]) for row in removed) == [
        ("train/cat/1.png", "label_conflict", ""),
        ("train/cat/2.png", "leak", "val/cat/leak.png"),
        ("train/cat/copy.png", "duplicate", "train/cat/0.png"),
        ("train/cat/empty.png", "unreadable", ""),
        ("train/dog/3.png", "leak", "test/dog/near.png"),
        ("train/dog/conflict.png", "label_conflict", ""),
        ("train/loose.png", "layout", ""),
        ("val/dog/0.png", "leak", "test/dog/leak.png"),
        ("val/fish/0.png", "missing_class", ""),
    ]
    assert not {row["path"] for row in kept} & {row["path"] for row in removed}
    assert len(kept) + len(removed) == len(list(data.rglob("*.png")))


def test_cleaned_manifest_can_be_opened_to_train_and_is_sound(fixed, tmp_path: Path, found) -> None:
    data = tmp_path / "data"
    for name in ("two words.png", "new\nline.png", 'comma,"quote".png', "猫.png", " space .png"):
        shutil.copy(data / "train/cat/0.png", data / "train/cat" / name)
        Image.open(data / "train/cat" / name).rotate(len(name) * 10).save(data / "train/cat" / name)
    shutil.copy(data / "train/cat/2.png", data / "val/cat/leak.png")
    fixed()
    source = open_source(tmp_path / "fixed/manifest.csv")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 16, "val": 7, "test": 6}
    assert all(source.splits["train"].read(k).ndim == 3 for k in range(16))
    assert found("leak", "unreadable", "duplicate", "layout", data="fixed/manifest.csv") == []


def test_data_without_splits_stays_without(fixed, tmp_path: Path) -> None:
    shutil.move(tmp_path / "data/train", tmp_path / "flat")
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "flat", tmp_path / "data")
    kept, _ = fixed()
    assert list(kept[0]) == ["path", "label"]


def test_groups_are_written_and_torn_ones_leave_train(fixed, photo) -> None:
    photo("train/cat/p1_0.png", 900)
    photo("val/cat/p1_1.png", 901)
    photo("train/dog/p2_0.png", 902)
    kept, removed = fixed(group_by=r"(p\d+)_")
    assert [(row["path"], row["reason"]) for row in removed] == [("train/cat/p1_0.png", "the group p1 is in val too")]
    assert {row["path"]: row["group"] for row in kept if row["group"]} == {
        "val/cat/p1_1.png": "p1",
        "train/dog/p2_0.png": "p2",
    }


def test_splits_that_tear_everything_are_left_to_the_person(checked) -> None:
    cleaned = clean(checked(group_by="cat|dog"))
    assert cleaned.left_out == {}
    assert cleaned.remark.startswith("12 training images are close to images that measure. They stay in")


def test_name_that_is_no_utf8_is_left_out(fixed, tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path / "data/train/cat") + b"/\xff.png"
    shutil.copy(os.fsencode(tmp_path / "data/train/cat/0.png"), strange)
    Image.open(os.fsdecode(strange)).rotate(90).save(os.fsdecode(strange), "PNG")
    _, removed = fixed()
    assert [(row["path"], row["kind"]) for row in removed] == [("train/cat/\udcff.png", "layout")]


def test_images_that_are_no_files_cannot_be_listed() -> None:
    with pytest.raises(UsageError, match="the images of digits are not files"):
        refuse_unlisted(["digits/0001"], "digits")
    refuse_unlisted(["https://example.org/a.jpg", __file__], "list.csv")


@st.composite
def surveys(draw: st.DrawFn) -> Checked:
    """Data with any copies, labels, sides, groups and unreadable images."""
    count = draw(st.integers(1, 14))
    pick = lambda *values: np.array(draw(st.lists(st.sampled_from(values), min_size=count, max_size=count)))  # noqa: E731
    labels, sides, pixels, readable = (
        pick(-1, 0, 1, 2),
        pick(0, 1, 2),
        pick(*range(1, 7)),
        pick(True, True, True, False),
    )
    groups = draw(st.none() | st.just(tuple(pick("", "x", "y").tolist())))
    images = array_split(
        np.zeros((count, 2, 2, 3), np.uint8), labels.astype(np.int64), [f"{k}.png" for k in range(count)]
    )
    images = Split(images.labels, images.paths, images.read, groups=groups)
    facts = Facts(
        readable=readable, content=pixels.astype(np.uint64), pixels=pixels.astype(np.uint64),
        looks=np.zeros(count, np.uint64), thumbs=np.zeros((count, 16, 16), np.uint8),
        sizes=np.ones((count, 2), np.int32),
        modes=("RGB",) * count, formats=("PNG",) * count, animated=np.zeros(count, bool),
        tones=np.full((count, 4), 99, np.float32), reasons={k: "truncated" for k in range(count) if not readable[k]},
    )  # fmt: skip
    alive = np.flatnonzero(readable)
    exact = tuple(alive[pixels[alive] == value] for value in range(1, 7) if np.sum(pixels[alive] == value) > 1)
    single = [int(k) for k in alive if not any(int(k) in copies[1:] for copies in exact)]
    pairs = st.tuples(st.sampled_from(single), st.sampled_from(single)) if single else st.nothing()
    near = draw(st.lists(pairs.filter(lambda pair: pair[0] < pair[1]), max_size=4)) if len(single) > 1 else []
    survey = Survey("data", ("a", "b", "c"), images, sides.astype(np.int64), sides.astype(np.int64))
    splits = np.where(readable & (labels >= 0), sides, -1)
    return Checked(survey, facts, splits, Duplicates(exact, np.array(near, np.int64).reshape(-1, 2)), 32)


def rest_of(checked: Checked, cleaned: Cleaned) -> list[int]:
    return cleaned.kept(len(checked.survey.images))


@settings(max_examples=300)
@given(surveys())
def test_what_stays_has_no_certain_fault(checked: Checked) -> None:
    cleaned = clean(checked)
    kept = rest_of(checked, cleaned)
    labels, sides, pixels = checked.survey.images.labels, checked.survey.sides, checked.facts.pixels
    assert all(checked.facts.readable[kept])
    assert all(labels[kept] >= 0)
    assert len(set(pixels[kept].tolist())) == len(kept)
    learned = set(labels[[k for k in kept if sides[k] == 0]].tolist())
    assert not learned or set(labels[kept].tolist()) <= learned
    if not cleaned.remark:
        assert all(
            sides[one] == sides[other] for one, other in checked.duplicates.near.tolist() if {one, other} <= set(kept)
        )
        places = {}
        for k in kept:
            places.setdefault((checked.survey.images.groups or [""] * 99)[k], set()).add(int(sides[k]))
        assert all(len(where) == 1 for name, where in places.items() if name)


@settings(max_examples=100)
@given(surveys())
def test_test_images_only_leave_when_no_use_can_be_made_of_them(checked: Checked) -> None:
    cleaned = clean(checked)
    for position, out in cleaned.left_out.items():
        if checked.survey.sides[position] == 2:
            assert out.kind in ("unreadable", "layout", "label_conflict", "duplicate", "missing_class")
        if out.instead >= 0:
            assert checked.survey.sides[out.instead] >= checked.survey.sides[position]


@settings(max_examples=100)
@given(surveys())
def test_finders_take_any_data(checked: Checked) -> None:
    told = list(find_all(checked))
    assert all(len(f.paths) == len(f.positions) for f in told if f.positions)
