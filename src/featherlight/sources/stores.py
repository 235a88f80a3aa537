"""Files behind ``s3://`` and ``gs://``: listed and read by PyArrow.

An address is ``s3://BUCKET/KEY``, the key as it is, nothing quoted. What a store needs to be reached stands behind a
question mark of what the person gave (``?region=...&endpoint_override=...``); keys and secrets come from where the
provider's own tools find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from featherlight.errors import DataError, UnreadableImageError, explain_missing
from featherlight.images import MAX_FILE_BYTES

SCHEMES = ("s3://", "gs://")
_SECRETS = ("key", "secret", "token", "password")


def is_stored(address: str) -> bool:
    """Whether an address is one of a store."""
    return address[:5].lower() in SCHEMES


@dataclass(frozen=True)
class Store:
    """One bucket. Can be pickled: each process opens it for itself.

    Attributes:
        scheme: ``s3://`` or ``gs://``.
        bucket: its name.
        query: how it is reached; empty: as the environment says.
    """

    scheme: str
    bucket: str
    query: str = ""

    def list(self, address: str) -> list[str]:
        """The address itself if it is a file, else all files below it, sorted.

        Raises:
            DataError: there is nothing, or the store cannot be reached.
        """
        from pyarrow.fs import FileSelector, FileType

        files = open_store(self)
        try:
            (info,) = files.get_file_info([_path(address)])
            if info.type == FileType.NotFound:
                raise DataError(f"{address}: no such file or folder in this bucket")
            if info.type == FileType.File:
                return [address]
            found = files.get_file_info(FileSelector(info.path, recursive=True))
        except OSError as error:
            raise DataError(f"{address}: cannot be listed ({_shown(error)})") from error
        return sorted(self.scheme + entry.path for entry in found if entry.type == FileType.File)

    def open(self, address: str) -> Any:
        """Opens a file to read anywhere in it.

        Raises:
            OSError: it cannot be opened.
        """
        return open_store(self).open_input_file(_path(address))

    def read(self, address: str) -> bytes:
        """The bytes of an image's file.

        Raises:
            UnreadableImageError: not there, too large, or the store does not give it.
        """
        try:
            with self.open(address) as file:
                if file.size() > MAX_FILE_BYTES:
                    reason = f"too large: files up to {MAX_FILE_BYTES // 2**20} MiB are read"
                    raise UnreadableImageError(address, reason)
                content: bytes = file.readall()
                return content
        except FileNotFoundError:
            raise UnreadableImageError(address, "no such file") from None
        except OSError as error:
            raise UnreadableImageError(address, f"cannot be read: {_shown(error)}") from error


def find_store(given: str) -> tuple[Store, str]:
    """The store of an address that a person gave, and the address without what tells how to reach it.

    Raises:
        DataError: no bucket is named, or a secret is.
    """
    address, _, query = given.partition("?")
    scheme = address[:5].lower()
    bucket = address[5:].partition("/")[0]
    if not bucket:
        raise DataError(f"{given}: names no bucket; write {scheme}BUCKET/FOLDER")
    names = [part.partition("=")[0].lower() for part in query.split("&")]
    if "@" in bucket or any(secret in name for name in names for secret in _SECRETS):
        raise DataError(f"{scheme}...: secrets do not belong into an address; set AWS_ACCESS_KEY_ID and the like")
    return Store(scheme, bucket, query), (scheme + address[5:]).rstrip("/")


def store_of(address: str, known: Store | None) -> Store:
    """The store of an address; it is reached as the known one is, if that is of the same kind."""
    scheme, bucket = address[:5].lower(), address[5:].partition("/")[0]
    return Store(scheme, bucket, known.query if known is not None and known.scheme == scheme else "")


@lru_cache(maxsize=64)
def open_store(store: Store) -> Any:
    """PyArrow's file system of a store.

    Raises:
        DataError: it cannot be reached as told.
        MissingExtraError: PyArrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.fs import FileSystem
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"reading {store.scheme}") from error
    place = f"{store.scheme}{store.bucket}" + (f"?{store.query}" if store.query else "")
    try:
        return FileSystem.from_uri(place)[0]
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{store.scheme}{store.bucket}: cannot be reached ({_shown(error)})") from error


def _path(address: str) -> str:
    """What PyArrow calls it: the bucket and the key."""
    return address[5:]


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
