"""Images of many requests are computed together, without letting any wait beyond the latency target."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from featherlight.predictor import Prediction
from featherlight.serve.loaded import Loaded
from featherlight.serve.metrics import Metrics
from featherlight.serve.settings import Settings
from featherlight.sources.base import RGBImage

NEWEST = 0.2  # weight of the newest batch in what an image is taken to cost
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
    image: RGBImage | None = None
    pixels: int = 0
    since: float = 0.0


class Batcher:
    """One thread that computes; others bring images.

    A batch begins as soon as nothing is worth waiting for: it is as large as the latency target allows, or no image is
    being decoded, or the oldest image would come too late. How long a batch takes is what the last ones took.

    Args:
        settings: largest batch, latency target, pixels in memory.
        metrics: where batches are counted.
        seconds: that an image is taken to cost at first.
    """

    def __init__(self, settings: Settings, metrics: Metrics, seconds: float) -> None:
        self.seconds = seconds
        self._settings = settings
        self._metrics = metrics
        self._changed = threading.Condition()
        self._ready: deque[Job] = deque()
        self._expected = 0  # images that are on their way
        self._free_pixels = settings.max_pixels
        self._is_blocked = False  # somebody waits for free pixels
        self._gate = threading.Lock()  # one after the other, so that none is passed by
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Begins to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Computes what is ready, then ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it computes."""
        return self._thread.is_alive()

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

    def _run(self) -> None:
        while batch := self._next():
            self._compute(batch)
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
        if len(self._ready) >= self._largest() or not self._expected or self._is_blocked or self._stopped:
            return 0.0
        latest = self._ready[0].since + self._settings.latency_target_s - len(self._ready) * self.seconds
        return latest - time.monotonic()

    def _largest(self) -> int:
        return max(1, min(self._settings.max_batch, int(self._settings.latency_target_s / self.seconds)))

    def _cut(self) -> list[Job]:
        """Takes images of one model off the queue, those of one shape beside each other."""
        model = self._ready[0].model
        count = sum(1 for _ in takewhile(lambda job: job.model is model, self._ready))
        batch = [self._ready.popleft() for _ in range(min(count, self._largest()))]
        return sorted(batch, key=lambda job: np.shape(job.image))

    def _compute(self, batch: list[Job]) -> None:
        wanted = [job for job in batch if job.is_wanted()]
        began = time.perf_counter()
        outcomes = dict(zip(wanted, _answer(wanted), strict=True)) if wanted else {}
        if wanted:
            self._learn(time.perf_counter() - began, len(wanted))
        for job in batch:
            job.give(outcomes.get(job))

    def _learn(self, seconds: float, count: int) -> None:
        self.seconds += NEWEST * (seconds / count - self.seconds)
        self._metrics.batch_seconds.observe(seconds)
        self._metrics.batch_images.observe(count)


def _answer(batch: list[Job]) -> list[Prediction | Exception]:
    """An answer or an error for each; one that fails does not take the others with it."""
    try:
        prepared: list[tuple[str, RGBImage | str]] = [
            (job.name, job.image) for job in batch if job.image is not None
        ]
        answers = batch[0].model.predictor.answer(prepared, max(job.top for job in batch))
        return [replace(answer, top=answer.top[: job.top]) for job, answer in zip(batch, answers, strict=True)]
    except Exception as error:  # an engine's errors share no class, and this thread must go on
        if len(batch) > 1:
            return [outcome for job in batch for outcome in _answer([job])]
        log.exception("the model could not compute an image of shape %s", np.shape(batch[0].image))
        return [error]
