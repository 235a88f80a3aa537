"""Work done ahead, in order: the next batches are prepared while the network computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def prefetch(
    jobs: Iterable[Job], prepare: Callable[[Job], Result], threads: int, ahead: int | None = None
) -> Generator[Result, None, None]:
    """Yields ``prepare(job)`` for each job, in order, while threads prepare the following ones.

    What ``prepare`` raises is raised here, in its place in the order. When the generator is closed, by ``close``, by
    an exception where its results are used or by being forgotten, the threads end.

    Args:
        jobs: is read in the caller's thread, no further than needed.
        prepare: runs in threads in which PyTorch computes on one core.
        threads: how many prepare at once; 0: the caller's own, nothing is done ahead.
        ahead: results that are prepared or being prepared before the first of them is taken; by default one more than
            there are threads.
    """
    if threads == 0:
        yield from map(prepare, jobs)
        return
    bound = threads + 1 if ahead is None else ahead
    pending: deque[Future[Result]] = deque()
    with _single_core_threads(threads) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(prepare, job))
                if len(pending) > bound:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _single_core_threads(count: int) -> ThreadPoolExecutor:
    """Threads whose PyTorch operations do not start further threads: the cores belong to the network.

    ``torch.set_num_threads`` holds for the calling thread and for those that begin later; the second is undone here.
    """
    everywhere = torch.get_num_threads()
    started = threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "prefetch", initializer=_use_one_core)
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(everywhere)
    return pool


def _use_one_core() -> None:
    torch.get_num_threads()  # a thread takes over the number of all threads when it first asks; it would overwrite ours
    torch.set_num_threads(1)
