from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.sources.splitting import cache_folder, check_splits, hash_files, pixel_hash, split_by_hash

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=60)
THREE = {"train": 0.8, "val": 0.1, "test": 0.1}
MakeImages = Callable[..., list[Path]]


def place(hashes: list[int]) -> list[str]:
    splits = split_by_hash(hashes, THREE)
    where = {int(i): split for split, chosen in splits.items() for i in chosen}
    return [where[i] for i in range(len(hashes))]


def test_pixel_hash_is_a_fixed_64_bit_number() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert pixel_hash(image) == pixel_hash(image.copy()) == pixel_hash(np.asfortranarray(image))
    assert pixel_hash(image) == 11400532888109200233  # splits made today hold in all later versions
    assert pixel_hash(image.reshape(1, 4, 3)) != pixel_hash(image)
    assert pixel_hash(image[::-1]) != pixel_hash(image)


@given(HASHES, HASHES)
def test_adding_images_never_moves_old_ones(old: list[int], new: list[int]) -> None:
    assert place(old + new)[: len(old)] == place(old)


@given(HASHES, st.randoms())
def test_order_does_not_matter(hashes: list[int], random: object) -> None:
    order = list(range(len(hashes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    placed = place(hashes)
    assert place([hashes[i] for i in order]) == [placed[i] for i in order]


@given(HASHES)
def test_every_image_is_in_one_split_and_duplicates_are_together(hashes: list[int]) -> None:
    splits = split_by_hash(hashes + hashes, THREE)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(2 * len(hashes)))
    assert place(hashes + hashes)[: len(hashes)] == place(hashes + hashes)[len(hashes) :]
    assert all((np.diff(chosen) > 0).all() for chosen in splits.values())


def test_shares_are_as_asked() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20_000, 2, 2, 3), dtype=np.uint8)
    hashes = [pixel_hash(image) for image in images]
    splits = split_by_hash(hashes, THREE)
    assert len(splits["train"]) / len(hashes) == pytest.approx(0.8, abs=0.01)
    assert len(splits["val"]) / len(hashes) == pytest.approx(0.1, abs=0.01)


def test_thresholds_and_both_ends() -> None:
    edge = round(0.9 * 2**64)
    splits = split_by_hash([0, edge - 1, edge, 2**64 - 1], {"train": 0.9, "val": 0.1})
    assert splits["train"].tolist() == [0, 1]
    assert splits["val"].tolist() == [2, 3]
    assert split_by_hash([2**64 - 1], THREE)["test"].tolist() == [0]


def test_class_without_training_image_is_named() -> None:
    labels = {"train": np.array([0, 0]), "val": np.array([1, 0])}
    with pytest.raises(DataError, match=r"class 'b' has only 1 readable images.*make train/ and val/ folders yourself"):
        check_splits("data", ("a", "b"), labels)


def test_empty_validation_is_refused() -> None:
    labels = {"train": np.array([0, 1, 1]), "val": np.array([], np.int64)}
    with pytest.raises(DataError, match="3 images are too few to set some aside for validation"):
        check_splits("data", ("a", "b"), labels)


def read_cache() -> tuple[Path, dict]:
    (file,) = (cache_folder() / "hashes").iterdir()
    return file, json.loads(file.read_text())


def test_hashes_are_remembered_by_path_size_and_time(tmp_path: Path, make_images: MakeImages) -> None:
    names = [file.name for file in make_images(tmp_path / "d", 3)]
    root = tmp_path / "d"
    hashes, unreadable = hash_files(root, names)
    assert not unreadable
    file, content = read_cache()
    content["files"]["000.png"][2] = 5  # what comes back shows whether the file was decoded again
    content["files"]["001.png"][2] = 6
    file.write_text(json.dumps(content))
    os.utime(root / "001.png", ns=(1, 1))
    again, _ = hash_files(root, names)
    assert again == {**hashes, "000.png": 5}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x80\x04",
        b"[]",
        b"{}",
        b"null",
        b'{"pillow": "0", "files": {}}',
        b"[" * 100_000,
        b'{"pillow": 3, "files": 4}',
    ],
)
def test_damaged_cache_is_rebuilt(tmp_path: Path, make_images: MakeImages, damage: bytes) -> None:
    names = [file.name for file in make_images(tmp_path / "d", 2)]
    hashes, _ = hash_files(tmp_path / "d", names)
    file, content = read_cache()
    file.write_bytes(damage)
    assert hash_files(tmp_path / "d", names)[0] == hashes
    assert read_cache()[1] == content


@pytest.mark.parametrize("entry", [None, [], [1, 2], [1, 2, "x"], [1, 2, 2**64], [1, 2, -1], [1, 2, True], "abc"])
def test_wrong_cache_entries_do_not_count(tmp_path: Path, make_images: MakeImages, entry: object) -> None:
    names = [file.name for file in make_images(tmp_path / "d", 2)]
    hashes, _ = hash_files(tmp_path / "d", names)
    file, content = read_cache()
    content["files"]["000.png"] = [*content["files"]["000.png"][:2], *entry[2:]] if isinstance(entry, list) else entry
    file.write_text(json.dumps(content))
    assert hash_files(tmp_path / "d", names)[0] == hashes


def test_unreadable_files_are_given_with_their_reason_and_not_remembered(
    tmp_path: Path, make_images: MakeImages
) -> None:
    make_images(tmp_path / "d", 1)
    bad = tmp_path / "d" / "bad.png"
    bad.touch()
    hashes, unreadable = hash_files(tmp_path / "d", ["000.png", "bad.png", "gone.png"])
    assert list(hashes) == ["000.png"]
    assert unreadable == [(str(bad), "empty file"), (str(tmp_path / "d" / "gone.png"), "no such file or directory")]
    assert list(read_cache()[1]["files"]) == ["000.png"]


def test_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [file.name for file in make_images(tmp_path / "d", 2)]
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "file" / "below"))
    assert len(hash_files(tmp_path / "d", names)[0]) == 2


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FEATHERLIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "featherlight"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "featherlight"
