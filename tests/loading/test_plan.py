from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import UsageError
from featherlight.loading.plan import place_among_processes, plan_epoch
from featherlight.sources.base import SHARDS_AT_ONCE

PER_SHARD = st.lists(st.integers(1, 40), min_size=1, max_size=40)
SHARDS = st.none() | PER_SHARD.map(lambda counts: np.repeat(np.arange(len(counts)), counts))


@given(count=st.integers(1, 3000), batch_size=st.integers(1, 256), epoch=st.integers(0, 50))
def test_every_image_is_dealt_exactly_once_into_even_batches(count: int, batch_size: int, epoch: int) -> None:
    plan = plan_epoch(count, batch_size, 0, epoch)
    sizes = [len(members) for members in plan]
    assert sorted(np.concatenate(plan).tolist()) == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) < 2 * batch_size
    assert count == 1 or min(sizes) >= min(count, batch_size) / 2


@given(
    count=st.integers(8, 1000), batch_size=st.integers(8, 100), world=st.integers(1, 4), epoch=st.integers(0, 5),
    shards=SHARDS,
)  # fmt: skip
def test_processes_share_each_batch_evenly(
    count: int, batch_size: int, world: int, epoch: int, shards: np.ndarray | None
) -> None:
    count = count if shards is None else max(8, len(shards))
    shards = None if shards is None else np.resize(shards, count)
    alone = plan_epoch(count, batch_size, 1, epoch, shards=shards)
    shares = [plan_epoch(count, batch_size, 1, epoch, rank, world, shards) for rank in range(world)]
    assert [len(share) for share in shares] == [len(alone)] * world
    for batch, *parts in zip(alone, *shares, strict=True):
        sizes = [len(part) for part in parts]
        assert sorted(np.concatenate(parts).tolist()) == sorted(batch.tolist())
        assert 0 < max(sizes) <= min(sizes) + 1


@given(counts=PER_SHARD, seed=st.integers(0, 1000), is_balanced=st.booleans())
def test_reading_goes_along_shards(counts: list[int], seed: int, is_balanced: bool) -> None:
    shards = np.repeat(np.arange(len(counts)) * 7, counts)
    labels = np.arange(len(shards)) % 7 // 3  # two classes of three in seven, one of one
    balance = labels if is_balanced else None
    order = np.concatenate(plan_epoch(len(shards), 16, seed, 0, shards=shards, balance=balance))
    unordered = np.concatenate(plan_epoch(len(shards), 16, seed, 0, balance=balance))
    assert sorted(order.tolist()) == sorted(unordered.tolist())
    assert is_balanced or sorted(order.tolist()) == list(range(len(shards)))
    places = {shard: np.flatnonzero(shards[order] == shard) for shard in np.unique(shards[order])}
    first, last = (np.array([edge(found) for found in places.values()]) for edge in (min, max))
    in_use = [int(((first <= place) & (place <= last)).sum()) for place in range(len(order))]
    assert max(in_use) <= SHARDS_AT_ONCE


def test_over_an_epoch_processes_see_equally_many_images() -> None:
    totals = [sum(map(len, plan_epoch(910, 7, 0, 0, rank, 3))) for rank in range(3)]
    assert sum(totals) == 910
    assert max(totals) - min(totals) <= 1


def test_images_of_a_shard_are_spread_among_those_of_others() -> None:
    shards = np.repeat(np.arange(30), 100)
    plan = plan_epoch(3000, 50, 0, 0, shards=shards)
    in_the_middle = [len(np.unique(shards[members])) for members in plan[20:40]]
    assert min(in_the_middle) >= SHARDS_AT_ONCE - 2
    assert np.mean(np.diff(np.concatenate(plan)) == 1) < 0.05


def test_few_shards_are_shuffled_as_one() -> None:
    shards = np.repeat(np.arange(SHARDS_AT_ONCE), 10)
    for one, other in zip(plan_epoch(80, 8, 3, 1, shards=shards), plan_epoch(80, 8, 3, 1), strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("shards", [None, np.repeat(np.arange(20), 5)])
def test_epochs_are_dealt_differently_and_repeatably(shards: np.ndarray | None) -> None:
    first, again, second = (np.concatenate(plan_epoch(100, 10, 0, epoch, shards=shards)) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_more_processes_than_images_in_a_batch_are_refused() -> None:
    assert [len(part) for part in plan_epoch(12, 4, 0, 0, 3, 4)] == [1, 1, 1]
    with pytest.raises(UsageError, match="a batch of 4 images cannot be shared by 5 processes"):
        plan_epoch(12, 4, 0, 0, 0, 5)


def test_a_process_that_trains_alone_has_all_images() -> None:
    assert not torch.distributed.is_initialized()
    assert place_among_processes() == (0, 1)


LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(lambda values: np.array(values, np.int64))


@given(LABELS, st.integers(0, 9))
def test_every_class_is_drawn_equally_often_and_evenly_within(labels: np.ndarray, seed: int) -> None:
    order = np.concatenate(plan_epoch(len(labels), 8, seed, 0, balance=labels))
    assert len(order) == len(labels)
    drawn = np.bincount(order, minlength=len(labels))
    per_class = [drawn[labels == label] for label in np.unique(labels)]
    totals = [int(counts.sum()) for counts in per_class]
    assert max(totals) - min(totals) <= 1
    assert all(counts.max() - counts.min() <= 1 for counts in per_class)


def test_a_balanced_order_follows_from_seed_and_epoch_alone() -> None:
    labels = np.arange(50) % 3
    first, again, other = (np.concatenate(plan_epoch(50, 8, 0, epoch, balance=labels)) for epoch in (4, 4, 5))
    assert again.tolist() == first.tolist() != other.tolist()


def test_large_classes_show_other_images_in_other_epochs() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    seen = {int(i) for epoch in range(12) for i in np.concatenate(plan_epoch(100, 10, 0, epoch, balance=labels))}
    assert len(seen) > 95


@given(LABELS, st.integers(1, 4))
def test_processes_share_balanced_batches_too(labels: np.ndarray, world: int) -> None:
    size = 4 * world
    alone = plan_epoch(len(labels), size, 1, 2, balance=labels)
    if len(alone[-1]) < world:
        return
    shares = [plan_epoch(len(labels), size, 1, 2, rank, world, balance=labels) for rank in range(world)]
    for number, batch in enumerate(alone):
        assert sorted(np.concatenate([share[number] for share in shares]).tolist()) == sorted(batch.tolist())


@given(st.integers(1, 200), st.integers(1, 32), st.integers(1, 6), st.integers(0, 3))
def test_repeated_images_stand_in_a_row_and_fill_the_epoch(count, batch_size, repeats, epoch):
    order = np.concatenate(plan_epoch(count, batch_size, 0, epoch, repeats=repeats))
    assert len(order) == count
    shown = -(-count // repeats)
    assert np.array_equal(order, np.repeat(order[::repeats], repeats)[:count])
    assert len(np.unique(order)) == shown
    assert np.array_equal(order[::repeats], np.concatenate(plan_epoch(count, count, 0, epoch))[:shown])


@given(st.integers(1, 4), st.integers(8, 40))
def test_repeats_are_shared_among_processes_like_all_else(repeats, size):
    alone = plan_epoch(100, size, 1, 0, repeats=repeats)
    shares = [plan_epoch(100, size, 1, 0, rank, 2, repeats=repeats) for rank in range(2)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert sorted(batch) == sorted(np.concatenate(parts))


def test_along_shards_images_are_repeated_too():
    shards = np.repeat(np.arange(30), 10)
    order = np.concatenate(plan_epoch(300, 30, 0, 0, shards=shards, repeats=3))
    assert len(np.unique(order)) == 100
    assert np.array_equal(order, np.repeat(order[::3], 3))
