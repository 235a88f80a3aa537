"""Where each image lies in a tar shard, and its label: found by walking the headers, remembered in the cache folder.

Files of one sample follow each other and share their name up to the first dot, as the library webdataset writes and
reads them. Nothing is unpacked: an image is read later by its place in the shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from featherlight.console import note
from featherlight.errors import DataError, FeatherlightError
from featherlight.files import cache_folder, write_text
from featherlight.sources.choice import Choice
from featherlight.sources.folder import IMAGE_SUFFIXES

_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)  # key, extension: as webdataset takes names apart
_META = re.compile(r"__[^/]*__($|/)")  # webdataset's own notes
_LABELS = ("cls", "class", "label", "cls.txt", "label.txt")  # extensions, the likeliest first; then JSON, then txt
_FIELDS = ("label", "cls", "class", "class_name")  # of JSON
_MAX_LABEL = 1024  # bytes of a label
_MAX_JSON = 2**20
_MAX_HEADER = 2**16  # tarfile reads extended headers whole; a longer one is an attack
_END_PADDING = 2**16  # writers fill the last record with zeros


@dataclass(frozen=True)
class ShardIndex:
    """What one shard holds, a value an image in every column.

    Attributes:
        stamp: of the shard when it was walked.
        size: of the shard in bytes.
        names: of the images, as the shard calls them.
        offsets: where their bytes begin.
        sizes: how many there are.
        labels: texts, also where they are numbers; None: there is none.
        without_image: names of samples that hold no image.
    """

    stamp: str
    size: int
    names: list[str]
    offsets: list[int]
    sizes: list[int]
    labels: list[str | None]
    without_image: list[str]


@dataclass(frozen=True)
class _Member:
    key: str
    extension: str
    name: str
    offset: int
    size: int


def index_shard(path: Path, shown: str, choice: Choice) -> ShardIndex:
    """Walks a shard.

    Args:
        path: the tar file.
        shown: what errors call it.
        choice: which extensions hold image and label.

    Raises:
        DataError: no tar, compressed, truncated or damaged; a sample with several images or twice the same file.
    """
    try:
        stamp, size = shard_stamp(path), path.stat().st_size
        with path.open("rb") as file:
            samples = [list(group) for _, group in groupby(_walk(file, shown), key=lambda member: member.key)]
            rows = [_read_sample(file, sample, shown, choice) for sample in samples]
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error})") from error
    images = [(image, label) for image, label in rows if image is not None]
    return ShardIndex(
        stamp=stamp,
        size=size,
        names=[image.name for image, _ in images],
        offsets=[image.offset for image, _ in images],
        sizes=[image.size for image, _ in images],
        labels=[label for _, label in images],
        without_image=[sample[0].key for sample, (image, _) in zip(samples, rows, strict=True) if image is None],
    )


def shard_stamp(path: Path) -> str:
    """Changes when the file may have changed."""
    status = path.stat()
    return f"{status.st_size}|{status.st_mtime_ns}"


class _Guarded(io.RawIOBase):
    """A file of which only small parts can be read at once; tarfile believes what a header says of its length."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


def _walk(file: io.BufferedReader, shown: str) -> Iterator[_Member]:
    """The regular files of a tar in order; says what it passes over."""
    end, size = 0, os.fstat(file.fileno()).st_size
    passed: list[str] = []
    try:
        with tarfile.open(fileobj=_Guarded(file), mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # or all of them stay in memory
                end = _end_of(member, end, size)
                match = _NAME.fullmatch(member.name)
                if not member.isreg() or member.issparse():
                    passed += [] if member.isdir() else [member.name]
                elif match and not _META.match(member.name):
                    yield _Member(match[1], match[2].lower(), member.name, member.offset_data, member.size)
            _check_end(file, tar.offset, size, shown)
    except FeatherlightError:
        raise
    except Exception as error:  # tarfile raises many kinds on hostile files
        raise _unusable(file, shown, error) from error
    if passed:
        note(f"{shown}: passed over {len(passed):,} members that are links or devices, the first: {passed[0]}")


def _end_of(member: tarfile.TarInfo, before: int, size: int) -> int:
    """Where a member ends; it must lie behind what came before, or reading might never end, and within the file."""
    if member.offset < before or member.size < 0:
        raise tarfile.ReadError("its headers lead in circles")
    end = member.offset_data + (member.size if member.isreg() else 0)
    if end > size:
        raise tarfile.ReadError(f"it ends in the middle of {member.name}")
    return end


def _check_end(file: io.BufferedReader, end: int, size: int, shown: str) -> None:
    """At a damaged header tarfile just stops, so what stopped it is looked at."""
    file.seek(end)
    mark = file.read(tarfile.BLOCKSIZE)
    if any(mark) or 0 < len(mark) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"damaged at byte {end:,}")
    if not mark:
        note(f"{shown}: has no end mark; if it was cut off, the images behind are missing")
    elif size - end > _END_PADDING:
        note(f"{shown}: {size - end:,} bytes behind its end mark are not read; was it glued together from several?")


def _unusable(file: io.BufferedReader, shown: str, error: Exception) -> DataError:
    file.seek(0)
    head = file.read(6)
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return DataError(f"{shown}: is compressed, so images in it cannot be found by their place; unpack it to a .tar")
    reason = str(error).replace("\n", " ")[:200] or type(error).__name__
    return DataError(f"{shown}: is no whole tar file ({reason}); copy or download it again")


def _read_sample(
    file: io.BufferedReader, sample: list[_Member], shown: str, choice: Choice
) -> tuple[_Member | None, str | None]:
    """The image of a sample and its label."""
    parts = {member.extension: member for member in sample}
    if len(parts) < len(sample):
        raise DataError(f"{shown}: the sample {sample[0].key} holds two files with the same extension")
    image = parts.get(choice.image.lower()) if choice.image else _find_image(parts, shown)
    return image, None if image is None else _read_label(file, parts, choice)


def _find_image(parts: Mapping[str, _Member], shown: str) -> _Member | None:
    """The file whose extension is that of an image; ``jpg`` comes before ``left.jpg``."""
    images = [name for name in parts if f".{name.rpartition('.')[2]}" in IMAGE_SUFFIXES]
    images = [name for name in images if "." not in name] or images
    if len(images) > 1:
        raise DataError(
            f"{shown}: the sample {parts[images[0]].key} holds several images, {', '.join(images)}; say which one "
            f"to learn from by adding to the data's name: #image={images[0]}"
        )
    return parts[images[0]] if images else None


def _read_label(file: io.BufferedReader, parts: Mapping[str, _Member], choice: Choice) -> str | None:
    extensions = (choice.label.lower(),) if choice.label else _LABELS
    for extension in extensions:
        if extension in parts:
            return _as_label(_text(file, parts[extension], _MAX_LABEL))
    for extension in [extension for extension in parts if extension.rpartition(".")[2] == "json"]:
        content = _load_json(_text(file, parts[extension], _MAX_JSON))
        for field in (choice.label,) if choice.label else _FIELDS:
            if isinstance(content, dict) and field in content:
                return _as_label(content[field])
    return None if choice.label or "txt" not in parts else _as_label(_text(file, parts["txt"], _MAX_LABEL))


def _text(file: io.BufferedReader, member: _Member, limit: int) -> str | None:
    if member.size > limit:
        return None
    file.seek(member.offset)
    return file.read(member.size).decode("utf-8", "replace")


def _load_json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_label(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value).strip() or None


# ---- memory


def recall_index(place: str, choice: Choice) -> ShardIndex | None:
    """What is remembered of a shard, by its path or URL; its stamp says whether that still holds."""
    with suppress(OSError, ValueError, TypeError):
        known = ShardIndex(**json.loads(_memory(place, choice).read_text(encoding="utf-8")))
        return known if _is_sound(known) else None
    return None


def remember_index(place: str, choice: Choice, index: ShardIndex) -> None:
    """Keeps an index for the next start; without a place to write the shard is walked again, nothing else."""
    with suppress(FeatherlightError, OSError):
        write_text(_memory(place, choice), json.dumps(asdict(index)))


def _memory(place: str, choice: Choice) -> Path:
    name = hashlib.blake2b(f"1|{place}|{choice}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return cache_folder() / "shards" / "index" / f"{name}.json"


def _is_sound(index: ShardIndex) -> bool:
    """Whether it holds what this module writes; the file may be anybody's."""
    columns: tuple[tuple[Any, type | tuple[type, ...]], ...] = (
        (index.names, str),
        (index.offsets, int),
        (index.sizes, int),
        (index.labels, (str, type(None))),
    )
    lists = all(type(values) is list and all(isinstance(v, kind) for v in values) for values, kind in columns)
    whole = lists and len({len(values) for values, _ in columns}) == 1
    return whole and isinstance(index.stamp, str) and type(index.size) is int
