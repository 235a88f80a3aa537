"""Zip archives of unknown origin: looked through before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from featherlight.errors import ModelFileError

MAX_UNPACKED_BYTES = 2**30
_MAX_DIRECTORY_BYTES = 8 * 2**20  # some 80,000 entries; a network has a few hundred tensors
_END = b"PK\x05\x06"
_END_SIZE, _LOCATOR_SIZE, _END64_SIZE = 22, 20, 56


def open_archive(path: Path, file: BinaryIO) -> zipfile.ZipFile | None:
    """Opens the zip archive in ``file``; None if it is none.

    Raises:
        ModelFileError: it is damaged, or would unpack to more than a network can have; ``path`` is named.
    """
    size = _directory_size(file)
    if size is None:
        return None
    if size > _MAX_DIRECTORY_BYTES:
        raise ModelFileError(f"{path}: an archive of too many files; that is no network")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ModelFileError(f"{path}: damaged archive ({str(error)[:200]!a})") from error
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ModelFileError(f"{path}: would unpack to {unpacked:,} bytes; at most {MAX_UNPACKED_BYTES:,} are accepted")
    return archive


def read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpacks one file of an archive, in memory.

    Raises:
        ModelFileError: it is damaged, encrypted, or compressed in a way that is not known here; ``path`` is named.
    """
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged archive ({str(error)[:200]!a})") from error


def _directory_size(file: BinaryIO) -> int | None:
    """Bytes of the table of contents, as the end of the file states them; None if there is no such end."""
    length = file.seek(0, 2)
    file.seek(max(0, length - 2**16 - _END_SIZE - _LOCATOR_SIZE - _END64_SIZE))
    tail = file.read()
    place = len(tail) - _END_SIZE
    if place < 0 or not (tail[place:].startswith(_END) and tail.endswith(b"\0\0")):  # the rest may be a comment
        place = tail.rfind(_END)
    if place < 0 or len(tail) < place + _END_SIZE:
        return None
    (size,) = struct.unpack_from("<I", tail, place + 12)
    large = place - _LOCATOR_SIZE - _END64_SIZE
    if large >= 0 and tail[large:].startswith(b"PK\x06\x06"):
        size = max(size, struct.unpack_from("<Q", tail, large + 40)[0])
    return int(size)
