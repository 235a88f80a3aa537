"""The model that answers, and its successor: loaded and tried beside it, then put in its place."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featherlight.console import printable
from featherlight.engines import prepare_image
from featherlight.errors import FeatherlightError
from featherlight.model_file import find_model_file
from featherlight.predictor import Predictor
from featherlight.serve.metrics import Metrics
from featherlight.serve.settings import WATCH_INTERVAL_S, Settings

TRIALS = 4  # the first is slower and does not count
TRIAL_SHAPES = ((375, 500, 3), (64, 48, 3))  # of pictures as they come, and of small ones
log = logging.getLogger("featherlight.serve")

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Loaded:
    """A model that was tried and may answer.

    Attributes:
        predictor: answers.
        path: the file it was loaded from.
        signature: of that file, to see when it is replaced.
        seconds: that an image takes, alone.
        since: when it was loaded, seconds since 1970.
    """

    predictor: Predictor
    path: Path
    signature: Signature
    seconds: float
    since: float


def load(settings: Settings) -> Loaded:
    """Loads the model and tries it.

    Raises:
        FeatherlightError: there is none, it cannot be read, or it gives no proper answers.
    """
    path = find_model_file(settings.model)
    signature = sign(path)
    predictor = Predictor(path, settings.engine, threads=settings.cores)
    seconds = _try(predictor)
    return Loaded(predictor, path, signature, seconds, time.time())


def sign(path: Path) -> Signature:
    """What changes when a file is replaced: of the file, and of an OpenVINO model's weights."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    found = [(str(file), os.stat(file)) for file in files if file.exists()]
    return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)


def _try(predictor: Predictor) -> float:
    """Seconds of an image alone; an error when its answers are no numbers."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, shape, dtype=np.uint8) for shape in TRIAL_SHAPES]
    prepared = [prepare_image(predictor.engine, picture) for picture in pictures]
    list(predictor.answer([("trial", picture) for picture in prepared], top=1))
    seconds = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        list(predictor.answer([("trial", prepared[0])], top=1))
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


class Keeper:
    """Holds the model that answers, and looks once a second whether its file was replaced.

    A successor is loaded and tried while the old one answers. What cannot be read or gives no proper answers is refused:
    the old one stays. Requests keep the model that they began with.

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
            log.error("refused the new model, the old one stays: %s", printable(f"{error}"))
            return
        if successor.signature != signature:
            self._seen = self.current.signature  # replaced while it was read: look again
            return
        self.current = successor
        self._metrics.loads.labels("taken over").inc()
        self._metrics.loaded.set(successor.since)
        log.info("took over the new model %s", printable(str(successor.path)))
