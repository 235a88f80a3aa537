from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.sources.facts import pixel_hash
from featherlight.sources.splitting import check_splits, split_by_hash

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=60)
THREE = {"train": 0.8, "val": 0.1, "test": 0.1}


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
