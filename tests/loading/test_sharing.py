"""Two processes that train together, with three workers each, over every kind of source that is read from storage."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import StreamedBatches
from featherlight.loading.plan import plan_epoch
from featherlight.sources import open_source
from featherlight.sources.base import Reader, Split
from shard_files import write_splits, write_table
from shard_server import ShardServer, serve_shards

WORLD, WORKERS, BATCH = 2, 3, 8
AUGMENTATION = Augmentation(16, "pad", True, False, 0.0, 0.0, 3)


@dataclass(frozen=True)
class Logged:
    """Writes down who reads what."""

    reader: Reader
    log: Path

    def __call__(self, index: int, at_least: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
        import torch

        worker = torch.utils.data.get_worker_info()
        with self.log.open("a") as file:  # short lines of several processes do not mix
            file.write(f"{-1 if worker is None else worker.id} {index}\n")
        return self.reader(index, at_least)

    def encoded(self, index: int) -> bytes | None:
        return self.reader.encoded(index)

    def stamp(self, index: int) -> str | None:
        return self.reader.stamp(index)


@dataclass(frozen=True)
class Job:
    """What the two processes do: some epochs over some data, with so many bytes for fetched shards."""

    data: str
    folder: Path
    epochs: int = 1
    room: str = ""


def batches_of(split: Split, workers: int = WORKERS) -> StreamedBatches:
    return StreamedBatches(split, Preprocessing(16, crop_fraction=1.0), AUGMENTATION, BATCH, 5, workers, True)


def train_process(rank: int, jobs: list[Job], meeting: Path) -> None:
    """One of the processes."""
    import torch

    multiprocessing.set_start_method("fork", force=True)  # of the workers; started anew, each would import torch
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=WORLD)
    for job in jobs:
        os.environ["FEATHERLIGHT_SHARD_SPACE"] = job.room
        split = open_source(job.data).splits["train"]
        for epoch in range(job.epochs):
            batches = batches_of(replace(split, read=Logged(split.read, job.folder / f"read-{epoch}-{rank}")))
            labels = []
            for batch in batches.epoch(epoch):  # its share of every batch, in step with the other process
                labels.append(batch.labels.tolist())
                torch.distributed.barrier()
            assert len(labels) == len(batches)
            (job.folder / f"labels-{epoch}-{rank}").write_text(json.dumps(labels))
    torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class Done:
    """The jobs, and the servers that had to do with them."""

    folder: Job
    table: Job
    web: Job
    web_without_room: Job
    server: ShardServer
    server_without_room: ShardServer


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Everything is read by one pair of processes, since starting them takes most of the time."""
    import datasets

    def new_folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    near = write_splits(new_folder("shards"), {"train": 101, "val": 6}, per_shard=9)
    saved = new_folder("saved")
    tables = datasets.DatasetDict({"train": write_table(101), "validation": write_table(6, 101)})
    tables.save_to_disk(str(saved), num_shards={"train": 4, "validation": 1})
    far = write_splits(new_folder("served"), {"train": 400, "val": 6}, per_shard=16)
    largest = max(file.stat().st_size for file in far.glob("*.tar"))
    pattern = "{train-{0000..0024},val-0000}.tar"
    with pytest.MonkeyPatch.context() as patch, serve_shards(far) as server, serve_shards(far) as other:
        patch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("FEATHERLIGHT_CACHE", str(new_folder("cache")))
        patch.setenv("HF_HOME", str(new_folder("hf")))
        web = Job(f"{server.url}/{pattern}", new_folder("web"), 2)
        other_web = Job(f"{other.url}/{pattern}", new_folder("other"), 2, str(17 * largest))
        jobs = [Job(str(near), new_folder("folder"), 2), Job(str(saved), new_folder("table")), web, other_web]
        _train_together(jobs, new_folder("meeting") / "file")
        yield Done(*jobs, server, other)


def _train_together(jobs: list[Job], meeting: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train_process, args=(rank, jobs, meeting)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WORLD


def check_epochs(job: Job, split: Split) -> None:
    """Every image once an epoch, by the process whose share it is, in the batches that one process would have alone."""
    for epoch in range(job.epochs):
        read = [(job.folder / f"read-{epoch}-{rank}").read_text().splitlines() for rank in range(WORLD)]
        rows = [[tuple(map(int, line.split())) for line in lines] for lines in read]
        assert Counter(index for part in rows for _, index in part) == dict.fromkeys(range(len(split)), 1)
        for part in rows:
            assert {worker for worker, _ in part} == set(range(WORKERS))
        shares = [json.loads((job.folder / f"labels-{epoch}-{rank}").read_text()) for rank in range(WORLD)]
        plan = plan_epoch(len(split), BATCH, 5, epoch, shards=split.shards)
        alone = [sorted(split.labels[members].tolist()) for members in plan]
        assert [sorted(one + other) for one, other in zip(*shares, strict=True)] == alone
        assert all(abs(len(one) - len(other)) <= 1 for one, other in zip(*shares, strict=True))


def test_shards_in_a_folder_are_shared(done: Done) -> None:
    check_epochs(done.folder, open_source(done.folder.data).splits["train"])


def test_a_hugging_face_folder_is_shared(done: Done) -> None:
    check_epochs(done.table, open_source(done.table.data).splits["train"])


def test_shards_behind_http_are_shared_and_fetched_once(done: Done) -> None:
    assert done.server.shards_fetched == {**{f"train-{k:04}.tar": 1 for k in range(25)}, "val-0000.tar": 1}
    assert done.server.bytes_sent < sum(file.stat().st_size for file in done.server.folder.iterdir()) + 2000
    check_epochs(done.web, open_source(done.web.data).splits["train"])


def test_shards_that_do_not_all_fit_are_fetched_once_an_epoch(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = done.server_without_room.shards_fetched
    assert len(fetched) == 26
    assert max(fetched.values()) <= 1 + done.web_without_room.epochs  # once to see what is in it
    monkeypatch.setenv("FEATHERLIGHT_SHARD_SPACE", done.web_without_room.room)
    split = open_source(done.web_without_room.data).splits["train"]
    assert split.shards is not None
    check_epochs(done.web_without_room, split)
