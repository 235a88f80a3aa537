"""Files from the network: http and https only, bounded, resumable, verified before anyone sees them."""

from __future__ import annotations

import hashlib
import os
import re
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from filelock import FileLock

from featherlight.console import Bar, bar, note
from featherlight.errors import DownloadError, UsageError

OFFLINE = "FEATHERLIGHT_OFFLINE"  # an environment variable; anything but nothing and 0 keeps off the network
ATTEMPTS = 3  # connections for one file; each goes on where the last one broke off
MIN_BYTES_PER_S = 1024  # a server that drips more slowly, beyond the time allowed, is given up
_CHUNK = 2**16

Verify = Callable[[Path], str | None]


class _BrokenOffError(Exception):
    """The connection ended early; what has come is kept."""


@dataclass(frozen=True)
class _Order:
    url: str
    target: Path
    verify: Verify | None
    max_bytes: int
    timeout_s: float

    @property
    def part(self) -> Path:
        """Where the file grows until it is whole."""
        return self.target.with_name(f"{self.target.name}.part")


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    verify: Verify | None = None,
    max_bytes: int = 2**30,
    timeout_s: float = 30.0,
) -> Path:
    """Downloads ``url`` to ``target``, unless it is there already and right.

    With ``sha256`` or ``verify``, a download that was interrupted leaves ``TARGET.part`` and the next call goes on
    from there. Of two processes that want one file, the second waits for the first.

    Args:
        url: http or https; https is never left for http.
        target: the file to write; appears only when it is whole and right.
        sha256: checksum in hexadecimal digits, or the first eight or more of them.
        verify: looks at the file before it becomes ``target``; returns what is wrong with it, or None.
        max_bytes: more are not accepted.
        timeout_s: how long the server may be silent.

    Returns:
        ``target``.

    Raises:
        DownloadError: no network, an error of the server, broken off, too large, or other content; the message names
            the URL and where the file was to go.
        UsageError: no http or https address, or a checksum of fewer digits.
    """
    if not _is_http(url):
        raise UsageError(f"{url[:200]!a} is no http or https address")
    if sha256 and not re.fullmatch("[0-9a-fA-F]{8,64}", sha256):
        raise UsageError(f"{sha256[:80]!a} is no SHA-256; give 8 to 64 hexadecimal digits")
    checks = [check for check in (sha256 and _sha256_check(sha256), verify) if check]
    order = _Order(url, target, _all_of(checks) if checks else None, max_bytes, timeout_s)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not _is_there(order):
                _download(order)
    except OSError as error:  # the network's own are caught where they arise
        raise DownloadError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that do not match
        return False


def _all_of(checks: list[Verify]) -> Verify:
    return lambda file: next((problem for check in checks if (problem := check(file))), None)


def _sha256_check(expected: str) -> Verify:
    def check(file: Path) -> str | None:
        found = file_hash(file, "sha256")
        return None if found.startswith(expected.lower()) else f"its SHA-256 is {found}, not {expected}"

    return check


def file_hash(file: Path, algorithm: str) -> str:
    """The checksum of a file in hexadecimal digits."""
    digest = hashlib.new(algorithm)
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_there(order: _Order) -> bool:
    return order.target.is_file() and not (order.verify and order.verify(order.target))


def _download(order: _Order) -> None:
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise DownloadError(f"{order.url} is not fetched, since {OFFLINE} is set; {_by_hand(order)}")
    resumed = order.part.exists() and order.verify is not None
    if not resumed:
        order.part.unlink(missing_ok=True)
    _receive_all(order)
    problem = order.verify(order.part) if order.verify else None
    if problem:
        order.part.unlink()
        if resumed:  # the file may have changed on the server since the first part came
            return _download(order)
        raise DownloadError(
            f"{order.url}: not the file that was expected, {problem}; nothing is kept as {order.target}"
        )
    order.part.replace(order.target)
    return None


def _receive_all(order: _Order) -> None:
    note(f"downloading {order.url}")
    with bar("downloading") as shown:
        for attempt in range(1, ATTEMPTS + 1):
            before = _size(order.part)
            try:
                _receive(order, shown)
                break
            except _BrokenOffError as error:
                if attempt == ATTEMPTS or _size(order.part) <= before:
                    raise _broken_off(order, error) from error


def _receive(order: _Order, shown: Bar) -> None:
    """One connection: appends to the part what is missing."""
    try:
        response = _open(order, _size(order.part))
    except HTTPError as error:
        error.close()
        if error.code == 416 and order.part.exists():  # the part is no beginning of what is there now
            order.part.unlink()
            return _receive(order, shown)
        raise DownloadError(
            f"{order.url}: the server answers {error.code} {error.reason}; {_by_hand(order)}"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if _size(order.part):
            raise _BrokenOffError(str(reason)) from error
        raise DownloadError(f"cannot download {order.url} ({reason}); {_by_hand(order)}") from error
    with response:
        start = _start(order, response)
        total = _total(order, response, start)
        with order.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            return _copy(order, response, file, total, shown)


def _open(order: _Order, start: int) -> HTTPResponse:
    headers = {"User-Agent": "featherlight", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(order.url, headers=headers)  # noqa: S310  (fetch lets http and https through)
    opener = urllib.request.OpenerDirector()  # urllib's own would also follow redirections to ftp
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    response: HTTPResponse = opener.open(request, timeout=order.timeout_s)
    return response


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Follows to http and https; https is not left."""
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise URLError(f"it leads to {newurl[:200]!a}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _start(order: _Order, response: HTTPResponse) -> int:
    """Where the answer begins: at the end of the part, or at 0 from a server that knows no ranges."""
    if response.status != 206:
        return 0
    start = _size(order.part)
    if not (response.getheader("Content-Range") or "").startswith(f"bytes {start}-"):
        raise DownloadError(f"{order.url}: the server sends another part than was asked for; {_by_hand(order)}")
    return start


def _total(order: _Order, response: HTTPResponse, start: int) -> int | None:
    total = None if response.length is None else start + response.length
    if total is not None and total > order.max_bytes:
        raise _too_large(order, f"{total:,}")
    return total


def _copy(order: _Order, response: HTTPResponse, file: BinaryIO, total: int | None, shown: Bar) -> None:
    began, first = time.monotonic(), file.tell()
    while chunk := _read(response):
        file.write(chunk)
        received = file.tell()
        if received > order.max_bytes:
            file.truncate(0)
            raise _too_large(order, f"more than {order.max_bytes:,}")
        seconds = time.monotonic() - began
        if seconds > order.timeout_s and received - first < MIN_BYTES_PER_S * seconds:
            raise _BrokenOffError(f"slower than {MIN_BYTES_PER_S} bytes a second")
        shown.update(received / total if total else 0.0, f"{received / 1e6:.1f} MB")
    file.truncate()
    if total is not None and file.tell() < total:
        raise _BrokenOffError(f"{file.tell():,} of {total:,} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException, ValueError) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _by_hand(order: _Order) -> str:
    return f"get the file by other means and put it there: {order.target}"


def _broken_off(order: _Order, error: Exception) -> DownloadError:
    again = "the same command goes on from there" if order.verify else "try again"
    return DownloadError(f"the download of {order.url} to {order.target} broke off ({error}); {again}")


def _too_large(order: _Order, size: str) -> DownloadError:
    return DownloadError(f"{order.url}: {size} bytes; at most {order.max_bytes:,} are accepted for {order.target}")
