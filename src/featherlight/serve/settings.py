"""What a server is told, and the limits that keep it within bounds."""

from __future__ import annotations

import ipaddress
import math
import os
from dataclasses import dataclass
from pathlib import Path

from featherlight.errors import UsageError

MIN_KEY_LENGTH = 16  # characters; shorter ones can be tried one by one
MAX_KEY_FILE_BYTES = 2**20
HELD_BODIES = 8  # largest bodies that are in memory at once
WATCH_INTERVAL_S = 1.0
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Settings:
    """How to serve one model.

    Attributes:
        model: run directory, model file, exported file or folder.
        host: address to listen at.
        port: 0: any that is free.
        engine: runtime, ``auto`` chooses by the file.
        workers: processes, each with its own copy of the model.
        threads: cores that a worker computes with; None: an equal part of those there are.
        api_keys: any of them opens ``/v1`` and ``/metrics``; none: everybody may ask.
        max_batch: images computed at once, at most.
        latency_target_s: an image waits for others at most so long, its computing included.
        max_body_bytes: of a request.
        max_pixels: of an image.
        max_files: images of a request.
        request_timeout_s: from the first byte of a request to its answer.
        queue: images that were accepted and have no answer yet, in each worker.

    Raises:
        UsageError: values that do not fit together.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    engine: str = "auto"
    workers: int = 1
    threads: int | None = None
    api_keys: tuple[str, ...] = ()
    max_batch: int = 32
    latency_target_s: float = 0.05
    max_body_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_files: int = 64
    request_timeout_s: float = 30.0
    queue: int = 128

    def __post_init__(self) -> None:
        if self.queue < self.max_files:
            raise UsageError(
                f"a request of {self.max_files} images never fits into a queue of {self.queue}; "
                f"raise --queue or lower --max-files"
            )

    @property
    def cores(self) -> int:
        """What each worker computes and decodes with."""
        return self.threads or max(1, usable_cores() // self.workers)

    @property
    def max_held_bytes(self) -> int:
        """Of bodies and images that are not decoded yet, all requests together."""
        return HELD_BODIES * self.max_body_bytes

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


def usable_cores() -> int:
    """Cores that this process may use; a container's share of processor time counts, rounded up."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
        quota, period = (CGROUPS / group / "cpu.max").read_text().split()
        return max(1, min(found, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no Linux, no such share ("max"), or an older system
        return found


def read_api_keys(path: Path) -> tuple[str, ...]:
    """Reads keys, one a line; empty lines and lines that begin with ``#`` are passed over.

    Raises:
        UsageError: the file cannot be read, has no key, or a key that is short or not made of printable ASCII.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_KEY_FILE_BYTES).decode("ascii").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: keys are printable ASCII, one a line") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise UsageError(f"{path}: no key in it; write one a line, for example of: openssl rand -hex 32")
    for number, key in enumerate(keys, 1):
        if len(key) < MIN_KEY_LENGTH or not key.isprintable() or " " in key:
            raise UsageError(f"{path}: key {number} needs at least {MIN_KEY_LENGTH} printable characters, no spaces")
    return keys
