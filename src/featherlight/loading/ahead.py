"""Shards fetched while earlier ones are trained on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import FeatherlightError
from featherlight.sources.base import Split

SHARDS_AHEAD = 2


class FetchAhead:
    """Brings shards in the order in which batches need them, a few ahead, in a thread of its own.

    To be entered when worker processes have been started: a thread that holds a lock must not be forked.

    Args:
        split: images; nothing happens where shards are at hand.
        plan: positions of the images, an array a batch.
    """

    def __init__(self, split: Split, plan: Sequence[NDArray[np.int64]]) -> None:
        self._bring = split.bring
        self._needs = [] if split.bring is None or split.shards is None else _first_needs(split.shards, plan)
        self._reached = -1
        self._is_over = False
        self._error: FeatherlightError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fetch-ahead", daemon=True)

    def __enter__(self) -> FetchAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if kind is None:  # an epoch that ends by itself has all its shards
            self._thread.join()

    def reached(self, batch: int) -> None:
        """Batch ``batch`` of the plan is to be trained on next.

        Raises:
            DownloadError: a shard could not be fetched.
        """
        with self._changed:
            self._reached = batch
            self._changed.notify_all()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        for place, (_, shard) in enumerate(self._needs):
            if not self._may_fetch(place) or self._bring is None:
                return
            try:
                self._bring(shard)
            except FeatherlightError as error:
                self._error = error
                return

    def _may_fetch(self, place: int) -> bool:
        """Waits until this shard is one of the next few; false when the epoch is over."""
        after = self._needs[place - SHARDS_AHEAD][0] if place >= SHARDS_AHEAD else -1
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._reached >= after)
        return not self._is_over


def _first_needs(shards: NDArray[np.int64], plan: Sequence[NDArray[np.int64]]) -> list[tuple[int, int]]:
    """(batch, shard) for each shard that the plan needs, by the first batch that does."""
    seen: set[int] = set()
    needs = []
    for number, members in enumerate(plan):
        for shard in np.unique(shards[members]).tolist():
            if shard not in seen:
                seen.add(shard)
                needs.append((number, shard))
    return needs
