"""From bytes to rows: what is accepted, decoded beside the event loop, computed in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from featherlight.engines import prepare_image, working_pixels
from featherlight.errors import UnreadableImageError
from featherlight.images import load_image, measure_image
from featherlight.predictor import Prediction
from featherlight.serve.batching import Batcher, Job
from featherlight.serve.loaded import Keeper, Loaded
from featherlight.serve.metrics import Metrics
from featherlight.serve.problems import Problem, busy
from featherlight.serve.settings import Settings

FAILED = "the model could not compute it"
TOO_LARGE = "too large"  # how reasons begin that are about size


@dataclass(frozen=True)
class Upload:
    """An image of a request: its file's name, and its bytes."""

    name: str
    data: bytes


class Service:
    """Answers images with the model that the keeper holds, and says when there is no room for more.

    Used from one event loop; only :meth:`_prepare` and the batcher run in other threads.

    Args:
        settings: limits.
        keeper: of the model.
        metrics: where everything is counted.
    """

    def __init__(self, settings: Settings, keeper: Keeper, metrics: Metrics) -> None:
        self.settings = settings
        self.keeper = keeper
        self.metrics = metrics
        self.batcher = Batcher(settings, metrics)
        self._pool = ThreadPoolExecutor(settings.cores, thread_name_prefix="decode")
        self._queued = 0
        self._held = 0

    def start(self) -> None:
        """Begins to compute and to watch the model's file."""
        self.batcher.start()
        self.keeper.start()

    def stop(self) -> None:
        """Finishes what was accepted, then ends."""
        self.keeper.stop()
        self._pool.shutdown()
        self.batcher.stop()

    @property
    def is_alive(self) -> bool:
        """Whether there is a thread that computes."""
        return self.batcher.is_alive

    @property
    def expected_wait(self) -> float:
        """Seconds until what is accepted now would be answered."""
        return self.batcher.wait_for(self._queued, self.keeper.current.cost)

    def check_room(self, images: int, size: int = 0) -> None:
        """Refuses a request that would have to wait too long, or for which there is no memory.

        Raises:
            Problem: 503, which says when to come again.
        """
        wait = self.expected_wait
        if self._queued + images > self.settings.queue or wait > self.settings.request_timeout_s:
            self.metrics.refused.labels("queue").inc()
            raise busy(f"{self._queued} images are waiting, no more are accepted now", wait)
        if self._held + size > self.settings.max_held_bytes:
            self.metrics.refused.labels("memory").inc()
            raise busy("too much is being received at the moment", wait)

    def hold(self, size: int) -> None:
        """Counts bytes that were received; negative: that were let go.

        Raises:
            Problem: 503, there is no memory for them.
        """
        if size > 0:
            self.check_room(0, size)
        self._held += size
        self.metrics.held.set(self._held)

    async def predict(self, uploads: Sequence[Upload], top: int) -> list[Prediction]:
        """An answer for each image, in order; what cannot be read has an ``error``.

        The bytes of the images must be held; each is let go when it has its answer.

        Raises:
            Problem: 503, the queue is full.
        """
        try:
            self.check_room(len(uploads))
        except Problem:
            self.hold(-sum(len(upload.data) for upload in uploads))
            raise
        model, loop = self.keeper.current, asyncio.get_running_loop()
        self._count(len(uploads))
        self.batcher.expect(len(uploads))
        waiting = [self._submit(model, upload, top, loop) for upload in uploads]
        return _rows(uploads, await asyncio.gather(*waiting, return_exceptions=True))

    def _submit(
        self, model: Loaded, upload: Upload, top: int, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Prediction]:
        answer: asyncio.Future[Prediction] = loop.create_future()

        def finish(outcome: Prediction | Exception | None) -> None:
            self._count(-1)
            self.hold(-len(upload.data))
            self.metrics.images.labels(_outcome_name(outcome)).inc()
            if answer.done():  # whoever asked has gone
                return
            if isinstance(outcome, Prediction):
                answer.set_result(outcome)
            else:
                answer.set_exception(outcome or asyncio.CancelledError())

        def give(outcome: Prediction | Exception | None) -> None:
            loop.call_soon_threadsafe(finish, outcome)

        job = Job(model, upload.name, top, lambda: not answer.done(), give)
        self._pool.submit(self._prepare, job, upload.data)
        return answer

    def _count(self, change: int) -> None:
        self._queued += change
        self.metrics.queued.set(self._queued)

    def _prepare(self, job: Job, data: bytes) -> None:
        """In a thread of the pool: decodes and brings to size, or says why not."""
        try:
            if not job.is_wanted():
                self._settle(job, None)
                return
            self._bring(job, data)
        except UnreadableImageError as error:
            self._settle(job, Prediction(job.name, error=error.reason))
        except Exception as error:  # must reach whoever waits, whatever it is
            self._settle(job, error)

    def _bring(self, job: Job, data: bytes) -> None:
        width, height = measure_image(data, job.name)
        if width * height > self.settings.max_pixels:
            limit = f"at most {self.settings.max_pixels / 1e6:g} million are read"
            raise UnreadableImageError(job.name, f"{TOO_LARGE}: {width} x {height} pixels, {limit}")
        engine = job.model.engine
        claimed = self.batcher.claim(working_pixels(engine, max(height, width), min(height, width)))
        try:
            with self.metrics.decode_seconds.time():
                job.image = prepare_image(engine, load_image(data, job.name))
            job.pixels = min(claimed, working_pixels(engine, *job.image.shape[:2]))
        finally:
            self.batcher.hand_back(claimed - job.pixels)
        self.batcher.put(job)

    def _settle(self, job: Job, outcome: Prediction | Exception | None) -> None:
        self.batcher.expect(-1)
        job.give(outcome)


def _rows(uploads: Sequence[Upload], outcomes: Sequence[Prediction | BaseException]) -> list[Prediction]:
    """What the model could not compute is a row with an error among the others; raised, where there are no others."""
    if all(isinstance(outcome, BaseException) for outcome in outcomes):
        raise next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
    return [
        outcome if isinstance(outcome, Prediction) else Prediction(upload.name, error=FAILED)
        for upload, outcome in zip(uploads, outcomes, strict=True)
    ]


def _outcome_name(outcome: Prediction | Exception | None) -> str:
    if not isinstance(outcome, Prediction):
        return "dropped" if outcome is None else "failed"
    if outcome.error is not None:
        return "unreadable"
    return "rejected" if outcome.rejected else "answered"
