"""Shards behind http(s): each is fetched whole into the cache folder, kept as long as there is room, and read there.

Fetching whole shards asks nothing of the server but to send files. What has come is on the disk for all processes of
this machine, so nothing is fetched twice while it fits; with less room each epoch fetches each shard once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from featherlight.console import silence
from featherlight.download import OFFLINE, fetch
from featherlight.errors import DataError, UsageError
from featherlight.files import cache_folder

SPACE = "FEATHERLIGHT_SHARD_SPACE"  # an environment variable: 50GB, 2TB, ...
DEFAULT_SPACE = 100 * 10**9
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_CONNECTIONS = 8  # that ask for sizes at once; shards come one after the other
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server and its copy in the cache folder.

    Attributes:
        url: where it comes from.
        size: bytes; -1: the server does not say.
        version: what the server says of its content (ETag or time); empty: nothing.
    """

    url: str
    size: int = -1
    version: str = ""

    @property
    def stamp(self) -> str:
        """Changes when the file on the server has changed, as far as the server tells."""
        return f"{self.size}|{self.version}"

    @property
    def path(self) -> Path:
        """The copy; another version has another place."""
        name = hashlib.blake2b(f"{self.url}|{self.version}".encode(), digest_size=12).hexdigest()
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(urlsplit(self.url).path.rpartition("/")[2]))[-60:]
        return _folder() / f"{name}-{readable}"

    def bring(self) -> Path:
        """Fetches the file unless it is here, making room for it.

        Raises:
            DownloadError: it cannot be had.
        """
        path = self.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / "fetching.lock"), silence():  # one at a time, or there would be no bound
                if not path.exists():
                    _make_room(max(0, self.size))
                    fetch(self.url, path, verify=self._check if self.size >= 0 else None, max_bytes=shard_space())
                    _make_room(0)  # its size may not have been known
        with suppress(OSError):
            os.utime(path)  # what was used last goes last
        return path

    def _check(self, file: Path) -> str | None:
        size = file.stat().st_size
        return None if size == self.size else f"it has {size:,} bytes, not {self.size:,}"


def ask_servers(urls: Sequence[str]) -> list[RemoteFile | None]:
    """Asks for size and version of each file without fetching it; None for those whose server cannot be reached.

    When the first cannot be reached, the others are not tried: each might take half a minute to fail.

    Raises:
        DataError: a server says that it has no such file, or does not give it.
    """
    is_offline = os.environ.get(OFFLINE, "0") not in ("", "0")
    first = None if is_offline else _ask(urls[0])
    if first is None:
        return [None] * len(urls)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return [first, *pool.map(_ask, urls[1:])]


def _ask(url: str) -> RemoteFile | None:
    headers = {"User-Agent": "featherlight", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310  (http and https only)
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=_TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length") or ""
            version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            return RemoteFile(url, int(length) if length.isdecimal() else -1, version)
    except HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise DataError(f"{url}: the server has no such file ({error.code} {error.reason})") from error
        return RemoteFile(url)  # it may not like to be asked; fetching tells
    except (OSError, HTTPException, ValueError):
        return None


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Goes on asking, where urllib would begin to fetch; follows nowhere that fetching would not."""
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is None or urlsplit(newurl).scheme not in allowed:
            return None
        request.method = req.get_method()
        return request


def shard_space() -> int:
    """Bytes that fetched shards may take.

    Raises:
        UsageError: the environment variable ``FEATHERLIGHT_SHARD_SPACE`` is no size.
    """
    text = os.environ.get(SPACE, "").strip()
    if not text:
        return DEFAULT_SPACE
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.upper())
    if not match:
        raise UsageError(f"{SPACE} is {text!r}; a size like 50GB is expected")
    return int(float(match[1]) * _UNITS[match[2]])


def check_disk(files: Sequence[RemoteFile]) -> None:
    """Refuses before fetching what would fill the disk.

    Raises:
        DataError: there is too little room.
    """
    _folder().mkdir(parents=True, exist_ok=True)
    missing = sum(max(0, file.size) for file in files if not file.path.exists())
    free = shutil.disk_usage(_folder()).free
    if missing > free:
        raise DataError(
            f"{missing / 1e9:,.1f} GB of shards are to be fetched, but {_folder()} has room for {free / 1e9:,.1f} GB; "
            f"set FEATHERLIGHT_CACHE to a folder on a larger disk, or {SPACE} to less: then each epoch fetches anew"
        )


def _folder() -> Path:
    return cache_folder() / "shards" / "files"


def _make_room(size: int) -> None:
    """Deletes what was not used for longest, until ``size`` more bytes fit."""
    found = []
    for file in _folder().iterdir():
        if file.suffix == ".lock":
            continue
        with suppress(FileNotFoundError):
            status = file.stat()
            found.append((status.st_mtime, status.st_size, file))
    total = sum(length for _, length, _ in found) + size
    for _, length, file in sorted(found):
        if total <= shard_space():
            break
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
        total -= length
