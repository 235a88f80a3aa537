"""Images named by http and https addresses: fetched when first read, kept in the cache folder.

Each address is fetched once for all threads, processes and runs. One that fails is not tried again for a while, and a
host that does not answer several times in a row is left alone, so that dead links cost seconds, not hours.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from featherlight.console import silence
from featherlight.download import OFFLINE, fetch
from featherlight.errors import DownloadError, FeatherlightError, UnreadableImageError
from featherlight.files import cache_folder, write_text
from featherlight.images import load_image
from featherlight.sources.base import RGBImage
from featherlight.sources.files import FileReader

MAX_BYTES = 64 * 2**20
SILENCE_S = 15.0  # without an answer
TOTAL_S = 60.0  # for one image, looking up the name included
RETRY_AFTER_S = 600.0  # until then a failure is remembered
GIVE_UP_AFTER = 3  # failures to reach a host, in a row

_SCHEMES = ("http://", "https://")
_unreached: dict[str, tuple[int, float]] = {}  # host -> how often in a row, and when last; of this process


def is_url(path: str) -> bool:
    """Whether a path is an http or https address."""
    return path[:4].lower() == "http" and path.lower().startswith(_SCHEMES)


@dataclass(frozen=True)
class RemoteReader:
    """Reads image ``i`` of a split from its file or address.

    Attributes:
        paths: absolute paths and addresses, in the split's order.
    """

    paths: tuple[str, ...]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """See :class:`featherlight.sources.base.Reader`."""
        return load_image(self._file(index), name=self.paths[index], at_least=at_least)

    def encoded(self, index: int) -> bytes:
        """The file's bytes."""
        try:
            return FileReader((self._file(index),)).encoded(0)
        except UnreadableImageError as error:
            raise UnreadableImageError(self.paths[index], error.reason) from error

    def stamp(self, index: int) -> str | None:
        """Path or kept file, size and time of the last change; None for what is not there (yet)."""
        path = self.paths[index]
        return FileReader((str(place_of(path)) if is_url(path) else path,)).stamp(0)

    def _file(self, index: int) -> str:
        path = self.paths[index]
        return str(fetch_image(path)) if is_url(path) else path


def place_of(url: str) -> Path:
    """Where the image of an address is kept."""
    name = hashlib.sha256(url.encode()).hexdigest()[:40]
    return cache_folder() / "images" / name[:2] / name


def fetch_image(url: str) -> Path:
    """The file that holds the image of an address, fetched if it is not there.

    Raises:
        UnreadableImageError: it cannot be fetched, or could not a short while ago.
    """
    place = place_of(url)
    if place.is_file():
        return place
    failed = place.with_name(f"{place.name}.failed")
    reason = _remembered(failed)
    if reason is None:
        reason = _fetch(url, place)
        if reason is None:
            return place
        with suppress(FeatherlightError):  # a full disk costs the memory of it, nothing more
            write_text(failed, reason)
    raise UnreadableImageError(url, reason)


def _remembered(failed: Path) -> str | None:
    try:
        age_s = time.time() - failed.stat().st_mtime
        return failed.read_text(encoding="utf-8") if 0 <= age_s < RETRY_AFTER_S else None
    except (OSError, ValueError):
        return None


def _fetch(url: str, place: Path) -> str | None:
    """Fetches one image; returns why not, if it cannot.

    Raises:
        UnreadableImageError: for a reason that may be gone in a moment.
    """
    host = _host_of(url)
    if _is_left_alone(host):
        raise UnreadableImageError(url, f"{host} could not be reached {GIVE_UP_AFTER} times in a row")
    error = _error_within(TOTAL_S, partial(fetch, url, place, max_bytes=MAX_BYTES, timeout_s=SILENCE_S))
    _count_reach(host, error)
    if error is None:
        with suppress(OSError):  # of fetch; who still waits for it will find the file
            place.with_name(f"{place.name}.lock").unlink()
        return None
    reason = _shortened(str(error), url, place)
    if OFFLINE in reason:
        raise UnreadableImageError(url, reason)
    return reason


def _count_reach(host: str, error: Exception | None) -> None:
    cause = error.__cause__ if isinstance(error, DownloadError) else error
    if isinstance(cause, (URLError, TimeoutError, ConnectionError)) and not isinstance(cause, HTTPError):
        _unreached[host] = (_unreached.get(host, (0, 0.0))[0] + 1, time.monotonic())
    else:  # it answered, whatever it said
        _unreached.pop(host, None)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # fetch will say it
        return ""


def _is_left_alone(host: str) -> bool:
    times, at = _unreached.get(host, (0, 0.0))
    return times >= GIVE_UP_AFTER and time.monotonic() - at < RETRY_AFTER_S


def _error_within(seconds: float, work: Callable[[], object]) -> Exception | None:
    """Runs ``work`` and returns what it raised; whatever it does, it is not waited for any longer than ``seconds``.

    A server that drips and a name that nobody resolves have no other end. What hangs is left to a thread of its own.
    """
    errors: list[Exception] = []

    def run() -> None:
        try:
            with silence():
                work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return TimeoutError(f"no image within {seconds:g} s")
    return errors[0] if errors else None


def _shortened(message: str, url: str, place: Path) -> str:
    """What the download says without what the reader knows: the address, and where it is kept."""
    for part in (f" of {url} to {place}", f" for {place}", f"; get the file by other means and put it there: {place}"):
        message = message.replace(part, "")
    return message.removeprefix(f"{url}: ").removeprefix(f"{url} ").replace(f" {url}", "")
