from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featherlight.sources.duplicates import components, equal_groups, find_duplicates
from featherlight.sources.facts import Facts


def facts_of(pixels: list[int], looks: list[int], scenes: list[int]) -> Facts:
    count = len(pixels)
    thumbs = np.stack([np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8) for seed in scenes])
    return Facts(
        readable=np.array([value > 0 for value in pixels]),
        content=np.array(pixels, np.uint64),
        pixels=np.array(pixels, np.uint64),
        looks=np.array(looks, np.uint64),
        thumbs=thumbs,
        sizes=np.ones((count, 2), np.int32),
        modes=("RGB",) * count,
        formats=("PNG",) * count,
        animated=np.zeros(count, bool),
        tones=np.zeros((count, 4), np.float32),
        reasons={},
    )


def test_exact_copies_are_groups_and_only_their_first_is_compared_for_looks() -> None:
    found = find_duplicates(facts_of([7, 8, 7, 9, 7], [1, 1, 1, 2**40 - 1, 1], [1, 1, 1, 2, 1]))
    assert [group.tolist() for group in found.exact] == [[0, 2, 4]]
    assert found.near.tolist() == [[0, 1]]
    assert sorted(map(tuple, found.links().tolist())) == [(0, 1), (0, 2), (2, 4)]


def test_equal_hashes_of_different_pictures_are_no_duplicates() -> None:
    assert find_duplicates(facts_of([1, 2], [5, 5], [1, 2])).near.tolist() == []


def test_unreadable_images_take_no_part() -> None:
    found = find_duplicates(facts_of([0, 0, 3, 3], [5, 5, 5, 5], [1, 1, 1, 1]))
    assert [group.tolist() for group in found.exact] == [[2, 3]]
    assert len(found.near) == 0


@given(st.lists(st.integers(0, 5), max_size=40))
def test_equal_groups_hold_every_repeated_value_once(values: list[int]) -> None:
    groups = equal_groups(np.array(values, np.int64))
    expected = [[i for i, v in enumerate(values) if v == value] for value in dict.fromkeys(values)]
    assert [group.tolist() for group in groups] == [group for group in expected if len(group) > 1]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_those_of_walking_along_the_pairs(count: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a, b) for a, b in pairs if a < count and b < count]
    expected = list(range(count))
    for _ in range(count):  # the smallest number spreads one step at a time
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert components(count, pairs).tolist() == expected
