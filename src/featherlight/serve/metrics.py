"""What Prometheus sees."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where the workers of one server put their numbers together
CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one worker; :meth:`render` adds up those of all."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = self._counter("requests", "Requests answered.", "route", "status")
        self.request_seconds = self._histogram("request_seconds", "From the headers to the answer.", _SECONDS, "route")
        self.images = self._counter(
            "images", "Images: answered, rejected by the model, unreadable, dropped.", "outcome"
        )
        self.refused = self._counter("refused", "Requests refused because something was full.", "reason")
        self.batch_images = self._histogram("batch_images", "Images computed at once.", _COUNTS)
        self.batch_seconds = self._histogram("batch_seconds", "Computing a batch.", _SECONDS)
        self.decode_seconds = self._histogram("decode_seconds", "Decoding an image and bringing it to size.", _SECONDS)
        self.queued = self._gauge("queue_images", "Images accepted that have no answer yet.")
        self.held = self._gauge("held_bytes", "Bodies and images in memory that are not decoded yet.")
        self.loads = self._counter("model_loads", "Model files: taken over, or refused.", "outcome")
        self.loaded = self._gauge("model_loaded_timestamp_seconds", "When the model that answers was loaded.", "max")

    def render(self) -> bytes:
        """In Prometheus' text format."""
        if MULTIPROCESS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"featherlight_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"featherlight_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, mode: str = "livesum") -> Gauge:
        return Gauge(f"featherlight_{name}", text, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]
