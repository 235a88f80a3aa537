"""Images of many requests are computed together, without letting any wait beyond the latency target."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np

from featherlight.predictor import Prediction
from featherlight.serve.loaded import Cost, Loaded
from featherlight.serve.metrics import Metrics
from featherlight.serve.settings import Settings
from featherlight.sources.base import RGBImage

NEWEST = 0.1  # weight of the newest batch in how slow computing is taken to be
log = logging.getLogger("featherlight.serve")


@dataclass(eq=False)
class Job:
    """An image on its way to an answer.

    Attributes:
        model: that its request began with.
        name: for its row.
        top: how many classes to list.
        is_wanted: whether anybody still waits for the answer.
        give: takes the answer, or why there is none; None: nobody waited.
        image: as the engine takes it, once it is prepared.
        pixels: claimed for it.
        since: when it was ready.
    """

    model: Loaded
    name: str
    top: int
    is_wanted: Callable[[], bool]
    give: Callable[[Prediction | Exception | None], None]
    image: RGBImage = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    pixels: int = 0
    since: float = 0.0


class Batcher:
    """Threads that compute, one a core; others bring images.

    Engines with a thread each share cores better than one engine with many, which wait for each other within every
    layer. Images that are ready are divided among the threads, no more to each than the latency target allows. A thread
    waits for images that are still being decoded only as long as a batch of its own would cost them, and never so long
    that the oldest comes too late. What a batch costs was measured when the model was loaded; how much slower it is
    amid the traffic is learnt from every batch.

    Args:
        settings: threads, largest batch, latency target, pixels in memory.
        metrics: where batches are counted.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slowness = 1.0  # times what was measured when the model was loaded
        self._changed = threading.Condition()
        self._ready: deque[Job] = deque()
        self._expected = 0  # images that are on their way
        self._free_pixels = settings.max_pixels
        self._is_blocked = False  # somebody waits for free pixels
        self._gate = threading.Lock()  # one after the other, so that none is passed by
        self._stopped = False
        names = [f"compute-{number}" for number in range(settings.cores)]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=name, daemon=True)
            for number, name in enumerate(names)
        ]

    def start(self) -> None:
        """Begins to compute."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Computes what is ready, then ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, cost: Cost) -> float:
        """Seconds that so many images will take."""
        largest = self._largest(cost)
        return count * self._slowness * cost.seconds(largest) / largest / len(self._threads)

    @property
    def is_alive(self) -> bool:
        """Whether it computes."""
        return all(thread.is_alive() for thread in self._threads)

    def expect(self, count: int) -> None:
        """Says how many images are coming, or with a negative number, how many will not come."""
        with self._changed:
            self._expected += count
            self._changed.notify_all()

    def claim(self, pixels: int) -> int:
        """Waits until so many decoded pixels may be in memory; gives what to hand back."""
        pixels = min(pixels, self._settings.max_pixels)
        with self._gate, self._changed:
            while self._free_pixels < pixels:
                self._is_blocked = True
                self._changed.notify_all()
                self._changed.wait()
            self._is_blocked = False
            self._free_pixels -= pixels
        return pixels

    def hand_back(self, pixels: int) -> None:
        """Lets others use claimed pixels."""
        with self._changed:
            self._free_pixels += pixels
            self._changed.notify_all()

    def put(self, job: Job) -> None:
        """Brings an expected image, prepared."""
        job.since = time.monotonic()
        with self._changed:
            self._expected -= 1
            self._ready.append(job)
            self._changed.notify_all()

    def _run(self, number: int) -> None:
        while batch := self._next():
            self._compute(batch, number)
            self.hand_back(sum(job.pixels for job in batch))

    def _next(self) -> list[Job]:
        """The next batch, when its time has come; nothing after the end."""
        with self._changed:
            while not self._stopped or self._ready:
                wait = self._seconds_to_wait() if self._ready else None
                if wait is not None and wait <= 0:
                    return self._cut()
                self._changed.wait(wait)
        return []

    def _seconds_to_wait(self) -> float:
        first, count = self._ready[0], len(self._ready)
        cost = first.model.cost
        if count >= self._largest(cost) or not self._expected or self._is_blocked or self._stopped:
            return 0.0
        slack = self._settings.latency_target_s - self._slowness * cost.seconds(count)
        return first.since + min(slack, self._slowness * cost.fixed) - time.monotonic()

    def _largest(self, cost: Cost) -> int:
        """As many images as a thread can compute within the latency target."""
        count = (self._settings.latency_target_s / self._slowness - cost.fixed) / cost.each
        return max(1, min(self._settings.max_batch, int(count)))

    def _cut(self) -> list[Job]:
        """Takes a thread's share off the queue: images of one model, those of one shape beside each other."""
        model = self._ready[0].model
        count = sum(1 for _ in takewhile(lambda job: job.model is model, self._ready))
        share = min(-(-count // len(self._threads)), self._largest(model.cost))
        return sorted((self._ready.popleft() for _ in range(share)), key=lambda job: job.image.shape)

    def _compute(self, batch: list[Job], number: int) -> None:
        wanted = [job for job in batch if job.is_wanted()]
        outcomes: dict[Job, Prediction | Exception] = {}
        if wanted:
            began = time.perf_counter()
            outcomes = dict(zip(wanted, _answer(wanted, number), strict=True))
            self._learn(time.perf_counter() - began, wanted[0].model.cost, len(wanted))
        for job in batch:
            job.give(outcomes.get(job))

    def _learn(self, seconds: float, cost: Cost, count: int) -> None:
        with self._changed:  # bounded: one image may be a hundred times as large as those that were tried
            found = min(seconds / cost.seconds(count), 2 * self._slowness)
            self._slowness += NEWEST * (found - self._slowness)
        self._metrics.batch_seconds.observe(seconds)
        self._metrics.batch_images.observe(count)


def _answer(batch: list[Job], number: int) -> list[Prediction | Exception]:
    """An answer or an error for each; one that fails does not take the others with it."""
    try:
        prepared: list[tuple[str, RGBImage | str]] = [(job.name, job.image) for job in batch]
        answers = batch[0].model.predictors[number].answer(prepared, max(job.top for job in batch))
        return [replace(answer, top=answer.top[: job.top]) for job, answer in zip(batch, answers, strict=True)]
    except Exception as error:  # an engine's errors share no class, and this thread must go on
        if len(batch) > 1:
            return [outcome for job in batch for outcome in _answer([job], number)]
        log.exception("the model could not compute an image of shape %s", batch[0].image.shape)
        return [error]
