"""Batches for training: from memory where the images fit, else streamed from files by worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from featherlight.console import note
from featherlight.errors import FeatherlightError, UnreadableImageError
from featherlight.images import Preprocessing, resize_image
from featherlight.loading.ahead import FetchAhead
from featherlight.loading.augment import Augmentation, crop_batch, finish_images, random_seed_for, resized_crop
from featherlight.loading.plan import place_among_processes, plan_epoch
from featherlight.sources.base import Split, Unreadable

_Rows = tuple[Tensor | None, Tensor, list[Unreadable]]

STORE_MARGIN = 8 / 7  # stored images are this much larger than the input, so that random regions have room


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Attributes:
        number: place in the epoch, from 0.
        images: uint8 (N, S, S, 3), augmented.
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

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start + 1``, ... of an epoch."""
        ...


def storage_preprocessing(preprocessing: Preprocessing, augmentation: Augmentation) -> Preprocessing:
    """How training images are stored in memory: with a margin where regions of them will be cut."""
    if augmentation.crop != "resized":
        return preprocessing
    size = round(preprocessing.input_size * STORE_MARGIN)
    return replace(preprocessing, input_size=size, crop_fraction=1.0)


def fits_in_memory(count: int, preprocessing: Preprocessing) -> bool:
    """Whether ``count`` stored images take at most a quarter of the memory this process may use."""
    size = preprocessing.input_size
    return count * size * size * 3 <= _memory_bytes() // 4


def _memory_bytes() -> int:
    """The machine's memory, or what the container is allowed of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such file, or "max"
            return min(machine, int(Path(limit).read_text()))
    return machine


@dataclass
class MemoryBatches:
    """Batches of images held decoded in memory, augmented by the batch.

    Attributes:
        images: uint8 (N, R, R, 3).
        labels: int64 (N,).
    """

    images: Tensor
    labels: Tensor
    augmentation: Augmentation
    batch_size: int
    seed: int
    unreadable: list[Unreadable]

    def __len__(self) -> int:
        return max(1, round(len(self.labels) / self.batch_size))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See :class:`TrainBatches`."""
        rank, world = place_among_processes()
        plan = plan_epoch(len(self.labels), self.batch_size, self.seed, epoch, rank, world)
        for number, members in enumerate(plan[start:], start):
            chosen = torch.from_numpy(members)
            with seeded(self.seed, epoch, number * world + rank):
                images = finish_images(crop_batch(self.images[chosen], self.augmentation), self.augmentation)
            yield Batch(number, images, self.labels[chosen])


class seeded:  # noqa: N801  (reads as a verb, like contextlib's own)
    """Inside, PyTorch's random numbers depend on the given numbers alone; outside, nothing has changed."""

    def __init__(self, *parts: int) -> None:
        self._seed = random_seed_for(*parts)

    def __enter__(self) -> None:
        self._state = torch.get_rng_state()
        torch.default_generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._state)


@dataclass(frozen=True)
class _StreamedImages(Dataset[Any]):
    """Reads and crops one image for (epoch, number in the epoch, index); runs in worker processes."""

    split: Split
    stored: Preprocessing
    augmentation: Augmentation
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | Unreadable | FeatherlightError:
        epoch, index = key
        try:
            image = self.split.read(index)
        except UnreadableImageError as error:
            return self.split.paths[index], error.reason
        except FeatherlightError as error:  # raised here, it would come with this process's traceback
            return error
        with seeded(self.seed, epoch, index):
            return self._cropped(image), int(self.split.labels[index])

    def _cropped(self, image: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        # The same steps as for images in memory: the resize policy first, then a region of that.
        tensor = torch.from_numpy(np.array(resize_image(image, self.stored)))
        if self.augmentation.crop != "resized":
            return tensor
        return resized_crop(tensor.permute(2, 0, 1), self.augmentation).permute(1, 2, 0)


class StreamedBatches:
    """Batches read from files by worker processes, for data larger than memory."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        workers: int,
        strict: bool,
    ) -> None:
        self._images = _StreamedImages(split, storage_preprocessing(preprocessing, augmentation), augmentation, seed)
        self._batch_size = batch_size
        self._workers = workers
        self._strict = strict
        self.unreadable: list[Unreadable] = []

    def __len__(self) -> int:
        return max(1, round(len(self._images.split) / self._batch_size))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See :class:`TrainBatches`."""
        source, augmentation, split = self._images, self._images.augmentation, self._images.split
        rank, world = place_among_processes()
        plan = plan_epoch(len(split), self._batch_size, source.seed, epoch, rank, world, split.shards)[start:]
        rest = replace(augmentation, crop="none") if augmentation.crop == "resized" else augmentation
        for number, (images, labels, unreadable) in enumerate(self._read(epoch, plan), start):
            note_unreadable(unreadable, self.unreadable, strict=self._strict)
            if images is None:
                continue
            with seeded(source.seed, epoch, number * world + rank):
                augmented = finish_images(crop_batch(images, rest), augmentation)
            yield Batch(number, augmented, labels)

    def _read(self, epoch: int, plan: Sequence[NDArray[np.int64]]) -> Iterator[_Rows]:
        """The batches of a plan in order; worker processes take whole ones in turn."""
        keys = [[(epoch, int(index)) for index in members] for members in plan]
        rows = iter(DataLoader(self._images, batch_sampler=keys, num_workers=self._workers, collate_fn=_collate))
        with FetchAhead(self._images.split, plan) as ahead:
            for number in range(len(plan)):
                ahead.reached(number)
                found = next(rows)
                if isinstance(found, FeatherlightError):
                    raise found
                yield found


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


def _collate(rows: Sequence[Any]) -> _Rows | FeatherlightError:
    failed = next((row for row in rows if isinstance(row, FeatherlightError)), None)
    if failed is not None:
        return failed
    good = [row for row in rows if isinstance(row[0], Tensor)]
    bad = [row for row in rows if not isinstance(row[0], Tensor)]
    images = torch.stack([image for image, _ in good]) if good else None
    return images, torch.tensor([label for _, label in good], dtype=torch.int64), bad
