"""Batches for training: from memory where the images fit, else streamed from files by worker processes."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from featherlight.console import note
from featherlight.errors import FeatherlightError, UnreadableImageError
from featherlight.images import Preprocessing
from featherlight.loading.ahead import FetchAhead
from featherlight.loading.augment import Augmentation, augment_batch, flips_in_turn, random_seed_for
from featherlight.loading.crops import Images
from featherlight.loading.decoding import Decoded, Decoder, Kept, Target, keep, run_workers, stack
from featherlight.loading.loaded import StreamCache
from featherlight.loading.plan import place_among_processes, plan_epoch
from featherlight.loading.prefetch import prefetch
from featherlight.loading.stored import Failed, StoredImages
from featherlight.sources.base import Split, Unreadable
from featherlight.sources.facts import count_cores

CPU = torch.device("cpu")
STORE_MARGIN = 8 / 7  # stored images are this much larger than the input, so that random regions have room


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Attributes:
        number: place in the epoch, from 0.
        images: uint8 (N, S, S, 3), augmented, on the device of the batches.
        labels: int64 (N,).
        weights: how much each image counts, float32 (N,); None: all alike.
    """

    number: int
    images: Tensor
    labels: Tensor
    weights: Tensor | None = None


class TrainBatches(Protocol):
    """Endless augmented batches, each determined by (seed, epoch, number)."""

    unreadable: list[Unreadable]

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """Batches ``start``, ``start + 1``, ... of an epoch."""
        ...


def storage_preprocessing(preprocessing: Preprocessing, augmentation: Augmentation) -> Preprocessing:
    """How training images are stored in memory: with a margin where regions of them will be cut."""
    if augmentation.crop != "resized":
        return replace(preprocessing, input_size=augmentation.size)
    size = round(max(preprocessing.input_size, augmentation.size) * STORE_MARGIN)
    return replace(preprocessing, input_size=size, crop_fraction=1.0)


def fits_in_memory(count: int, preprocessing: Preprocessing) -> bool:
    """Whether ``count`` stored images take at most a quarter of memory, in all processes that train together here."""
    size = preprocessing.input_size
    return count * size * size * 3 * int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= _memory_bytes() // 4


def _memory_bytes() -> int:
    """The machine's memory, or what the container is allowed of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such file, or "max"
            return min(machine, int(Path(limit).read_text()))
    return machine


class ImagesByNumber(Protocol):
    """Decoded images: arrays, tensors, or :class:`featherlight.loading.stored.StoredImages`."""

    def __getitem__(self, numbers: NDArray[np.int64]) -> Any:
        """N images, uint8 (R, R, 3)."""
        ...


@dataclass
class MemoryBatches:
    """Batches of images that are decoded already, augmented by the batch, prepared ahead.

    Attributes:
        images: N images, uint8 (R, R, 3).
        labels: int64 (N,).
        device: where batches are augmented.
        balanced: every class is shown equally often.
        weights: how much each image counts, float32 (N,); None: all alike.
        repeats: how often an image comes in its batch.
    """

    images: ImagesByNumber
    labels: Tensor
    augmentation: Augmentation
    batch_size: int
    seed: int
    unreadable: list[Unreadable]
    device: torch.device = CPU
    balanced: bool = False
    weights: Tensor | None = None
    repeats: int = 1

    def __len__(self) -> int:
        return max(1, round(len(self.labels) / self.batch_size))

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """See :class:`TrainBatches`."""
        rank, world = place_among_processes()
        balance = self.labels.numpy() if self.balanced else None
        plan = plan_epoch(
            len(self.labels), self.batch_size, self.seed, epoch, rank, world, balance=balance, repeats=self.repeats
        )
        prepare = partial(self._prepare, epoch)
        return prefetch(list(enumerate(plan))[start:], prepare, count_cores())

    def _prepare(self, epoch: int, job: tuple[int, NDArray[np.int64]]) -> Batch:
        number, members = job
        images = self.images[members]
        images = images.numpy() if isinstance(images, Tensor) else images
        rng, in_turn = _random_of(self.seed, epoch, number), flips_in_turn(members, self.seed, epoch)
        augmented = augment_batch(images, self.augmentation, rng, self.device, in_turn)
        return Batch(number, augmented, self.labels[members], _pick(self.weights, members))


def _random_of(seed: int, epoch: int, number: int) -> np.random.Generator:
    """What is random in this process's share of a batch."""
    rank, world = place_among_processes()
    return np.random.default_rng(random_seed_for(seed, epoch, number * world + rank))


def _pick(weights: Tensor | None, members: NDArray[np.int64]) -> Tensor | None:
    return None if weights is None else weights[members]


@dataclass(frozen=True)
class _DecodeForBatch(Dataset[Any]):
    """Decodes the images of a batch, and keeps them for later epochs; runs in worker processes."""

    decoder: Decoder
    target: Target | None

    def __getitem__(self, positions: NDArray[np.int64]) -> tuple[Decoded, Kept | None] | FeatherlightError:
        try:
            rows = list(self.decoder.each(positions))
        except FeatherlightError as error:  # raised here, it would come with this process's traceback
            return error
        kept = None if self.target is None else keep(rows, self.target)
        return stack(rows, self.decoder.stored.input_size), kept


class StreamedBatches:
    """Batches of images that do not fit in memory.

    They are decoded by worker processes, and on the way kept on disk, where there is room; as soon as all are there,
    they are taken from there. The batches are the same either way.

    Args:
        split: the images.
        preprocessing: of the model.
        augmentation: of the images.
        batch_size: images in a batch.
        seed: of everything random.
        workers: processes that decode.
        strict: an unreadable image is an error.
        device: where batches are augmented.
        balanced: every class is shown equally often.
        weights: how much each image counts, float32 (N,); None: all alike.
        repeats: how often an image comes in its batch.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        workers: int,
        strict: bool,
        device: torch.device = CPU,
        *,
        balanced: bool = False,
        weights: Tensor | None = None,
        repeats: int = 1,
    ) -> None:
        self._balance, self._weights, self._repeats = split.labels if balanced else None, weights, repeats
        self._split, self._augmentation, self._device = split, augmentation, device
        self._decoder = Decoder(split, storage_preprocessing(preprocessing, augmentation), scaled=True)
        self._batch_size, self._seed, self._workers, self._strict = batch_size, seed, workers, strict
        self._disk = StreamCache(self._decoder)
        self.unreadable: list[Unreadable] = []

    def __len__(self) -> int:
        return max(1, round(len(self._split) / self._batch_size))

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """See :class:`TrainBatches`."""
        rank, world = place_among_processes()
        split = self._split
        batches = plan_epoch(
            len(split), self._batch_size, self._seed, epoch, rank, world, split.shards, self._balance, self._repeats
        )
        plan = list(enumerate(batches))[start:]
        stored = self._disk.open()
        if stored is None:
            yield from prefetch(self._decode(plan), partial(self._finish, epoch), threads=1)
            return
        self._note(stored.failed)
        jobs = [(number, kept) for number, members in plan if len(kept := members[stored.is_readable[members]])]
        yield from prefetch(jobs, partial(self._take, epoch, stored), count_cores())

    def _decode(self, plan: list[tuple[int, NDArray[np.int64]]]) -> Iterator[tuple[int, Decoded]]:
        work = _DecodeForBatch(self._decoder, self._disk.target)
        members = [positions for _, positions in plan]
        results = run_workers(work, members, self._workers)
        with FetchAhead(self._split, members) as ahead:
            for place, (number, _) in enumerate(plan):
                ahead.reached(place)
                found = next(results)
                if isinstance(found, FeatherlightError):
                    raise found
                decoded, kept = found
                if kept is not None:
                    self._disk.add(kept)
                self._note(decoded.failed)
                if len(decoded.positions):
                    yield number, decoded

    def _take(self, epoch: int, stored: StoredImages, job: tuple[int, NDArray[np.int64]]) -> Batch:
        number, members = job
        return self._augment(epoch, number, members, stored.take(members))

    def _finish(self, epoch: int, job: tuple[int, Decoded]) -> Batch:
        number, decoded = job
        return self._augment(epoch, number, decoded.positions, decoded.images)

    def _augment(self, epoch: int, number: int, positions: NDArray[np.int64], images: Images) -> Batch:
        rng, in_turn = _random_of(self._seed, epoch, number), flips_in_turn(positions, self._seed, epoch)
        augmented = augment_batch(images, self._augmentation, rng, self._device, in_turn)
        labels = torch.from_numpy(self._split.labels[positions])
        return Batch(number, augmented, labels, _pick(self._weights, positions))

    def _note(self, failed: Iterable[Failed]) -> None:
        found = [(self._split.paths[position], reason) for position, reason in failed]
        note_unreadable(found, self.unreadable, strict=self._strict)


def note_unreadable(found: Iterable[Unreadable], known: list[Unreadable], *, strict: bool) -> None:
    """Names images that could not be read, each once, while images are streamed.

    Raises:
        UnreadableImageError: there is one, and ``strict`` is set.
    """
    for path, reason in found:
        if strict:
            raise UnreadableImageError(path, reason)
        if (path, reason) not in known:
            known.append((path, reason))
            note(f"skipped {path}: {reason}")
