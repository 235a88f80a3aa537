"""The model that answers, and its successor: loaded and tried beside it, then put in its place."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featherlight.console import printable
from featherlight.engines import Engine, prepare_image
from featherlight.errors import FeatherlightError
from featherlight.model_file import find_model_file
from featherlight.predictor import Predictor
from featherlight.serve.metrics import Metrics
from featherlight.serve.settings import WATCH_INTERVAL_S, Settings
from featherlight.sources.base import RGBImage

TRIALS = 4  # the first is slower and does not count
TRIAL_BATCH = 8
TRIAL_SHAPE = (375, 500, 3)  # of a picture as they come
ONE_CALL_AT_A_TIME = (
    "openvino",
    "ncnn",
    "litert",
    "executorch",
)  # engines that need a copy for each thread that computes
log = logging.getLogger("featherlight.serve")

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Cost:
    """What computing takes: seconds of a batch, and of each image in it."""

    fixed: float
    each: float

    def seconds(self, count: int) -> float:
        """Of a batch of so many images."""
        return self.fixed + count * self.each


@dataclass(frozen=True)
class Loaded:
    """A model that was tried and may answer.

    Attributes:
        predictors: one for each thread that computes; the same, where the engine can be called by several at once.
        path: the file it was loaded from.
        signature: of that file, to see when it is replaced.
        cost: as measured alone on the machine.
        since: when it was loaded, seconds since 1970.
    """

    predictors: tuple[Predictor, ...]
    path: Path
    signature: Signature
    cost: Cost
    since: float

    @property
    def engine(self) -> Engine:
        """That prepares images and names classes."""
        return self.predictors[0].engine


def load(settings: Settings) -> Loaded:
    """Loads the model and tries it.

    Raises:
        FeatherlightError: there is none, it cannot be read, or it gives no proper answers.
    """
    path = find_model_file(settings.model)
    signature = sign(path)
    first = Predictor(path, settings.engine, threads=1)
    is_shared = first.engine.name not in ONE_CALL_AT_A_TIME
    others = [first if is_shared else Predictor(path, settings.engine, threads=1) for _ in range(settings.cores - 1)]
    return Loaded((first, *others), path, signature, _try(first), time.time())


def sign(path: Path) -> Signature:
    """What changes when a file is replaced: of the file, and of an OpenVINO model's weights."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    found = [(str(file), os.stat(file)) for file in files if file.exists()]
    return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)


def _try(predictor: Predictor) -> Cost:
    """What images cost; an error when the answers are no numbers."""
    picture = np.random.default_rng(0).integers(0, 256, TRIAL_SHAPE, dtype=np.uint8)
    prepared = prepare_image(predictor.engine, picture)
    one, many = _time(predictor, [prepared]), _time(predictor, [prepared] * TRIAL_BATCH)
    each = max((many - one) / (TRIAL_BATCH - 1), 1e-6)
    return Cost(max(one - each, 0.0), each)


def _time(predictor: Predictor, images: Sequence[RGBImage]) -> float:
    seconds = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        list(predictor.answer([("trial", image) for image in images], top=1))
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


class Keeper:
    """Holds the model that answers, and looks once a second whether its file was replaced.

    A successor is loaded and tried while the old one answers. What cannot be read or gives no proper answers is
    refused, and the old one stays. Requests keep the model that they began with.

    Args:
        settings: which model, how.
        metrics: where loads are counted.
        loaded: the model that answers first; None: it is loaded now.

    Raises:
        FeatherlightError: there is no usable model.
    """

    def __init__(self, settings: Settings, metrics: Metrics, loaded: Loaded | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self.current = loaded or load(settings)
        self._seen = self.current.signature  # what was taken over, or refused
        self._metrics.loaded.set(self.current.since)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ends watching; a load that is under way is left to itself."""
        self._stopped.set()

    def _watch(self) -> None:
        last = self._seen
        while not self._stopped.wait(WATCH_INTERVAL_S):
            now = self._look()
            if now and now == last != self._seen:  # the same twice: nobody is writing
                self._replace(now)
            last = now

    def _look(self) -> Signature:
        try:
            return sign(find_model_file(self._settings.model))
        except (FeatherlightError, OSError):  # between two names, or gone: the old one answers
            return ()

    def _replace(self, signature: Signature) -> None:
        self._seen = signature
        try:
            successor = load(self._settings)
        except Exception as error:  # whatever is in the file must not end the watch
            self._metrics.loads.labels("refused").inc()
            log.error("refused the new model, the old one stays: %s", printable(f"{error}"))  # noqa: TRY400
            return
        if successor.signature != signature:
            self._seen = self.current.signature  # replaced while it was read: look again
            return
        self.current = successor
        self._metrics.loads.labels("taken over").inc()
        self._metrics.loaded.set(successor.since)
        log.info("took over the new model %s", printable(str(successor.path)))
