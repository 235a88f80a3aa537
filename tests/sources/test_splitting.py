from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featherlight.errors import DataError
from featherlight.sources.base import Split
from featherlight.sources.facts import Facts, pixel_hash
from featherlight.sources.files import FileReader
from featherlight.sources.splitting import _speakers, check_splits, choose_splits, cut_splits, split_by_hash

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


def facts_of(pixels: list[int], looks: list[int] | None = None, scenes: list[int] | None = None) -> Facts:
    count = len(pixels)
    scenes = list(range(count)) if scenes is None else scenes
    return Facts(
        readable=np.ones(count, bool),
        content=np.array(pixels, np.uint64),
        pixels=np.array(pixels, np.uint64),
        looks=np.array(pixels if looks is None else looks, np.uint64),
        thumbs=np.stack([np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8) for seed in scenes]),
        sizes=np.ones((count, 2), np.int32),
        modes=("RGB",) * count,
        formats=("PNG",) * count,
        animated=np.zeros(count, bool),
        tones=np.zeros((count, 4), np.float32),
        reasons={},
    )


def sides(facts: Facts, groups: list[str] | None = None) -> list[str]:
    where = {int(i): split for split, chosen in choose_splits(facts, groups, THREE).items() for i in chosen}
    return [where[i] for i in range(len(facts.pixels))]


PIXELS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40, unique=True)


@given(PIXELS)
def test_images_that_stand_alone_go_by_their_own_hash(pixels: list[int]) -> None:
    assert sides(facts_of(pixels)) == place(pixels)


@given(PIXELS, st.data())
def test_near_duplicates_stay_on_one_side(pixels: list[int], data: st.DataObject) -> None:
    scenes = data.draw(st.lists(st.integers(0, 4), min_size=len(pixels), max_size=len(pixels)))
    looks = [scene * 0x1111_1111_1111_1111 for scene in scenes]
    split = sides(facts_of(pixels, looks, scenes))
    for scene in set(scenes):
        together = [i for i, other in enumerate(scenes) if other == scene]
        assert len({split[i] for i in together}) == 1
        assert split[together[0]] in place([pixels[i] for i in together])  # one of them decides


@given(PIXELS, st.data())
def test_groups_stay_on_one_side_whatever_else_comes(pixels: list[int], data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=len(pixels), max_size=len(pixels)))
    split = sides(facts_of(pixels), groups)
    for group in {"a", "b", "c"} & set(groups):
        together = [i for i, other in enumerate(groups) if other == group]
        assert len({split[i] for i in together}) == 1
        alone = sides(facts_of([pixels[together[0]]]), [group])
        assert alone == [split[together[0]]]  # a group goes by its name, not by its images
    ungrouped = [i for i, other in enumerate(groups) if not other]
    assert [split[i] for i in ungrouped] == place([pixels[i] for i in ungrouped])


def test_images_that_hang_together_are_shared_out_as_others_are() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 2**64, 6000, np.uint64).tolist()
    scenes = np.repeat(np.arange(2000), 3)
    groups = [f"g{scene}" for scene in scenes]
    by_name = sides(facts_of(pixels, scenes=[0] * 6000, looks=pixels), groups)
    roots = (scenes * 3).astype(np.int64)
    by_pixels = place(_speakers(np.array(pixels, np.uint64), roots).tolist())
    for where in (by_name, by_pixels):
        assert where.count("train") / 6000 == pytest.approx(0.8, abs=0.03)
        assert where[::3] == where[1::3] == where[2::3]


def test_unreadable_images_are_in_no_split() -> None:
    facts = facts_of([1, 2**63, 2**64 - 1])
    broken = dataclasses.replace(facts, readable=np.array([True, False, True]))
    chosen = choose_splits(broken, None, THREE)
    assert sorted(int(i) for part in chosen.values() for i in part) == [0, 2]


def test_copies_in_other_formats_and_sizes_stay_together(tmp_path: Path) -> None:
    paths = []
    for seed in range(30):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)
        for name, copy in (("a.png", image), ("b.jpg", image), ("c.bmp", image.resize((60, 45)))):
            paths.append(str(tmp_path / f"{seed:02}{name}"))
            copy.save(paths[-1])
    images = Split(np.zeros(len(paths), np.int64), tuple(paths), FileReader(tuple(paths)))
    splits, unreadable = cut_splits("data", ("a",), images, THREE)
    assert not unreadable
    names = {split: {Path(path).name[:2] for path in part.paths} for split, part in splits.items()}
    assert sum(map(len, names.values())) == 30
    assert len(names["train"]) < 30
