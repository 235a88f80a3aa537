from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DownloadError
from featherlight.images import Preprocessing
from featherlight.loading.ahead import SHARDS_AHEAD, FetchAhead
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import StreamedBatches
from featherlight.sources import open_source
from featherlight.sources.arrays import array_split
from featherlight.sources.base import Split, take
from shard_files import write_splits
from shard_server import ShardServer, serve_shards

PLAN = [np.array([0, 1]), np.array([2, 4]), np.array([3, 5]), np.array([6, 7])]
SHARDS = np.array([0, 0, 1, 1, 2, 2, 3, 4])


class Fetches:
    """Counts what is brought, and lets a test wait for it."""

    def __init__(self, fail_at: int = -1) -> None:
        self.brought: list[int] = []
        self.fail_at = fail_at
        self.changed = threading.Condition()

    def __call__(self, shard: int) -> None:
        with self.changed:
            self.brought.append(shard)
            self.changed.notify_all()
        if shard == self.fail_at:
            raise DownloadError("no network")

    def wait_for(self, count: int) -> list[int]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.brought) >= count, timeout=30)
        return list(self.brought)


def far_split(bring: Callable[[int], object]) -> Split:
    images = array_split(np.zeros((8, 4, 4, 3), np.uint8), np.zeros(8, np.int64), [str(k) for k in range(8)])
    return Split(images.labels, images.paths, images.read, shards=SHARDS, bring=bring)


def test_shards_are_brought_in_order_and_only_a_few_ahead() -> None:
    fetches = Fetches()
    with FetchAhead(far_split(fetches), PLAN) as ahead:
        assert fetches.wait_for(SHARDS_AHEAD) == [0, 1]
        ahead.reached(0)
        assert fetches.wait_for(3) == [0, 1, 2]
        ahead.reached(1)
        assert fetches.wait_for(5) == [0, 1, 2, 3, 4]
        ahead.reached(2)
        ahead.reached(3)
    assert fetches.brought == [0, 1, 2, 3, 4]


def test_shard_is_not_brought_before_its_time() -> None:
    fetches = Fetches()
    with FetchAhead(far_split(fetches), PLAN):
        fetches.wait_for(SHARDS_AHEAD)
    assert fetches.brought == [0, 1]  # the thread has ended


def test_thread_ends_with_an_error_of_the_epoch() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), FetchAhead(far_split(Fetches()), PLAN):
        raise KeyError
    for thread in threading.enumerate():
        if thread.name == "fetch-ahead":
            thread.join(30)
    assert threading.active_count() == before


def reach_batches(ahead: FetchAhead) -> None:
    for _ in range(1000):
        ahead.reached(0)
        time.sleep(0.01)


def test_failure_is_told_at_a_next_batch() -> None:
    fetches = Fetches(fail_at=1)
    with FetchAhead(far_split(fetches), PLAN) as ahead, pytest.raises(DownloadError, match="no network"):
        reach_batches(ahead)
    assert fetches.brought == [0, 1]


def test_nothing_happens_where_shards_are_at_hand() -> None:
    split = take(far_split(Fetches()), np.arange(8))
    near = Split(split.labels, split.paths, split.read, shards=SHARDS)
    with FetchAhead(near, PLAN) as ahead:
        ahead.reached(3)


# ---- with a server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    """25 training shards, of which 17 may be kept."""
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))
    folder = write_splits(tmp_path / "served", {"train": 400, "val": 6}, per_shard=16)
    largest = max(file.stat().st_size for file in folder.glob("*.tar"))
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", str(17 * largest))
    with serve_shards(folder) as served:
        yield served


def stream(server: ShardServer, workers: int) -> StreamedBatches:
    split = open_source(f"{server.url}/{{train-{{0000..0024}},val-0000}}.tar").splits["train"]
    augmentation = Augmentation(16, "none", False, False, 0.0, 0.0, 3)
    return StreamedBatches(split, Preprocessing(16, crop_fraction=1.0), augmentation, 8, 0, workers, True)


@pytest.mark.parametrize("workers", [0, 2])
def test_server_that_fails_while_training_is_told_without_a_traceback(
    server: ShardServer, tmp_path: Path, workers: int
) -> None:
    batches = stream(server, workers)
    shutil.rmtree(tmp_path / "cache" / "shards" / "files")
    server.refuses = {"train-0007.tar"}
    with pytest.raises(DownloadError, match=r"train-0007\.tar: the server answers 503") as caught:
        list(batches.epoch(0))
    assert "Traceback" not in str(caught.value)


def test_epoch_taken_up_in_the_middle_gives_the_same_batches(server: ShardServer) -> None:
    whole = list(stream(server, 2).epoch(1))
    rest = list(stream(server, 0).epoch(1, start=30))
    assert [batch.number for batch in rest] == list(range(30, 50))
    for one, other in zip(whole[30:], rest, strict=True):
        assert one.images.equal(other.images)
        assert one.labels.equal(other.labels)
