"""Files as they are opened to be read: regular ones of bounded size, and no waiting."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

from featherlight.errors import UnreadableImageError
from featherlight.images.limits import ForkSafeLock

MAX_FILE_BYTES = 2**30
_LARGE = 2**26  # bytes; few images are
_ONE_AT_A_TIME = ForkSafeLock()
# How files of the formats begin that are read.
SIGNATURES = (b"BM", b"GIF8", b"\xff\xd8\xff", b"\x89PNG\r\n", b"II*\0", b"MM\0*", b"RIFF")


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file to read. A pipe or a device would block or never end, so only regular files are opened.

    Raises:
        OSError: it cannot be opened.
        UnreadableImageError: it is no regular file, or larger than ``MAX_FILE_BYTES``.
    """
    _check_kind(path, os.stat(path))  # before it is opened, which some devices take as an order
    return open(path, "rb", opener=_open_at_once)


@contextmanager
def contents_of(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The bytes of a file, as :func:`read_file` gives them; large ones for one thread at a time."""
    with open_file(path) as file, _ONE_AT_A_TIME if _size_of(file) > _LARGE else nullcontext():
        yield file.read(_size_of(file))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file as many as it has now; errors as :func:`open_file`.

    Decoders get these, not the file: libtiff maps files into memory, and the process dies when one gets shorter.
    """
    with open_file(path) as file:
        return file.read(_size_of(file))  # not to its end: it may be growing


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _open_at_once(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer
    try:
        _check_kind(path, os.fstat(descriptor))  # it may have been replaced since
    except UnreadableImageError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # folders have their own message
        raise UnreadableImageError(os.fspath(path), "a pipe or a device, not a file")
    if status.st_size > MAX_FILE_BYTES:
        raise UnreadableImageError(os.fspath(path), f"too large: files up to {MAX_FILE_BYTES // 2**20} MiB are read")


def is_image_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like an image of a format that is read, whatever its name; False if it cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(16)
    except (OSError, ValueError, UnreadableImageError):
        return False
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    if head.startswith(b"BM"):  # as many a text does
        return head[6:10] == bytes(4)
    return head.startswith(SIGNATURES)
