"""Which images an epoch shows in which batch, for any number of processes that share the work.

The plan follows from (seed, epoch) alone. So an epoch can be taken up at any batch, and the batches that all processes
see together are the same however many they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.errors import UsageError
from featherlight.loading.augment import random_seed_for
from featherlight.sources.base import SHARDS_AT_ONCE


def plan_epoch(
    count: int,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    shards: NDArray[np.int64] | None = None,
    balance: NDArray[np.int64] | None = None,
    repeats: int = 1,
) -> list[NDArray[np.int64]]:
    """Deals ``count`` images into batches of nearly equal size; every image exactly once, but for balance and repeats.

    Args:
        count: images.
        batch_size: see :func:`deal`.
        seed: of the run.
        epoch: from 0.
        rank: see :func:`deal`.
        world: likewise.
        shards: which shard holds each image, where reading along shards is cheap; then at most ``SHARDS_AT_ONCE``
            shards are in use at any time, and each is in use once.
        balance: labels (count,), to show every class equally often: see :func:`balanced_order`.
        repeats: how often an image comes in a row, so that a batch sees it in several augmentations; an epoch has as
            many images as ever, so it shows only one in ``repeats`` of them (Hoffer et al. 2020).

    Returns:
        The positions of this process's images, an array a batch.

    Raises:
        UsageError: see :func:`deal`.
    """
    generator = torch.Generator().manual_seed(random_seed_for(seed, epoch))
    if balance is None:
        order = torch.randperm(count, generator=generator).numpy()
    else:
        order = balanced_order(balance, generator)
    if repeats > 1:
        order = order[: -(-count // repeats)]
    if shards is not None:
        order = _along_shards(order, shards, generator)
    if repeats > 1:
        order = np.repeat(order, repeats)[:count]
    return deal(order, batch_size, rank, world)


def deal(order: NDArray[np.int64], batch_size: int, rank: int = 0, world: int = 1) -> list[NDArray[np.int64]]:
    """Cuts an order into batches, and each batch into an equal share a process, one image more or less.

    No short last batch: a batch of one or two would spoil the statistics of batch norm. All processes have the same
    number of batches.

    Args:
        order: positions of images.
        batch_size: of all processes together; the nearest size that divides the epoch is taken.
        rank: which process this is.
        world: how many there are.

    Raises:
        UsageError: a batch has fewer images than there are processes.
    """
    batches = np.array_split(order, max(1, round(len(order) / batch_size)))
    if world == 1:
        return batches
    if len(batches[-1]) < world:
        raise UsageError(f"a batch of {len(batches[-1])} images cannot be shared by {world} processes; use fewer")
    # Whose share is one larger goes round, so that over an epoch all do the same work.
    return [np.array_split(batch, world)[(rank + number) % world] for number, batch in enumerate(batches)]


def _along_shards(order: NDArray[np.int64], shards: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """The same positions, so that each shard begins one shard's time after the other and is spread over several."""
    names, members = np.unique(shards[order], return_inverse=True)
    if len(names) <= SHARDS_AT_ONCE:
        return order
    begins = torch.randperm(len(names), generator=generator).numpy()
    spread = SHARDS_AT_ONCE * torch.rand(len(order), generator=generator, dtype=torch.float64).numpy()
    return order[np.argsort(begins[members] + spread, kind="stable")]


def balanced_order(labels: NDArray[np.int64], generator: torch.Generator) -> NDArray[np.int64]:
    """N positions in which every class occurs equally often, give or take one.

    Large classes show another part of their images in each epoch, small ones repeat theirs: within a class no image
    is repeated before all have been seen.

    Args:
        labels: of the training images, (N,).
        generator: all that is random comes from it.

    Returns:
        int64 (N,), shuffled.
    """
    present = np.unique(labels)
    shares = np.full(len(present), len(labels) // len(present))
    extra = torch.randperm(len(present), generator=generator)[: len(labels) % len(present)].numpy()
    shares[extra] += 1
    parts = [
        _draw(np.flatnonzero(labels == label), int(share), generator)
        for label, share in zip(present, shares, strict=True)
    ]
    drawn = np.concatenate(parts)
    return np.asarray(drawn[torch.randperm(len(drawn), generator=generator).numpy()])


def _draw(members: NDArray[np.int64], count: int, generator: torch.Generator) -> NDArray[np.int64]:
    rounds = -(-count // len(members))
    orders = [members[torch.randperm(len(members), generator=generator).numpy()] for _ in range(rounds)]
    return np.concatenate(orders)[:count]


def place_among_processes() -> tuple[int, int]:
    """Rank of this process and number of all that train together; (0, 1) where it trains alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
