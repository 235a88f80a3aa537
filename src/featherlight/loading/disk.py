"""The folder of decoded images: its limit, who uses which file, what goes when room is needed.

Whoever reads a file holds a shared lock on it (``flock``), whoever makes one an exclusive lock. Locks end with their
process, however it ends, so nothing has to be cleared up before one can go on.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path

from featherlight.errors import UsageError
from featherlight.files import cache_folder

LIMIT_VARIABLE = "FEATHERLIGHT_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
SUFFIX = ".images"


class NotKeptError(Exception):
    """Decoded images cannot be kept on disk; the text says why."""


def decoded_folder() -> Path:
    """Where decoded images are."""
    return cache_folder() / "decoded"


def limit_bytes() -> int:
    """How much all files together may take.

    Raises:
        UsageError: the environment says no number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        limit = float(text) if text else DEFAULT_LIMIT_GB
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise UsageError(f"{LIMIT_VARIABLE} must be a number of gigabytes, 0 or more, not {text!r}")
    return int(limit * 10**9)


def make_room(needed: int) -> None:
    """Removes what lay unused longest, until everything together (``needed`` is counted already) is within the limit.

    Raises:
        NotKeptError: it would still be too much, or fill more than half of what is free on the disk.
    """
    folder = decoded_folder()
    free, limit = shutil.disk_usage(folder).free, limit_bytes()
    if needed > limit:
        raise NotKeptError(f"they take {needed / 1e9:.3g} GB, and {LIMIT_VARIABLE} allows {limit / 1e9:g} in all")
    if needed > free / 2:
        raise NotKeptError(f"they take {needed / 1e9:.3g} GB, and only {free / 1e9:.3g} GB are free in {folder}")
    for part in folder.glob(".*.part"):
        _remove_unused(part)  # left by a process that was killed
    sizes = {path: status for path in folder.iterdir() if (status := _status(path)) is not None}
    excess = sum(status.st_size for status in sizes.values()) - limit
    for path, status in sorted(sizes.items(), key=lambda item: item[1].st_mtime):
        if excess > 0 and path.suffix == SUFFIX and _remove_unused(path):
            excess -= status.st_size
    if excess > 0:
        raise NotKeptError(f"what other processes use leaves too little of the {limit / 1e9:g} GB that may be kept")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # removed by another process
        return None


def _remove_unused(path: Path) -> bool:
    """Removes a file unless a process holds a lock on it."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if not lock_alone(file, path):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def lock_alone(file: int, path: Path) -> bool:
    """Takes the exclusive lock, if nobody holds one and the file still has this name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    status = _status(path)
    return status is not None and os.path.samestat(status, os.fstat(file))


def remove(path: Path) -> None:
    """Removes a file if that is possible."""
    with suppress(OSError):
        path.unlink()
