"""What all shards of a data set hold: remembered, or found by walking each once; those behind http(s) are fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from featherlight.console import counting, note
from featherlight.errors import DataError
from featherlight.sources.base import SHARDS_AT_ONCE, Split
from featherlight.sources.choice import Choice
from featherlight.sources.facts import collect_contents, collect_facts
from featherlight.sources.kinds import WEB
from featherlight.sources.remote_shards import SPACE, RemoteFile, ask_servers, check_disk, shard_space
from featherlight.sources.shards import LocalShard, RemoteShard, Shard, ShardReader, memory_bytes
from featherlight.sources.tar_index import ShardIndex, index_shard, recall_index, remember_index, shard_stamp

_SPARE = 8  # shards on the disk beyond those in use: read ahead, or still in use by another process


@dataclass(frozen=True)
class IndexedShard:
    """A shard and what it holds."""

    shard: Shard
    index: ShardIndex


def index_all(places: Sequence[str], choice: Choice, *, to_train: bool) -> list[IndexedShard]:
    """Shards by their paths or URLs; see the two functions below."""
    if places[0].lower().startswith(WEB):
        return index_remote(places, choice, to_train=to_train)
    return index_local(places, choice)


def shard_reader(shards: Sequence[IndexedShard], names: tuple[str, ...]) -> ShardReader:
    """Reads the images of all these shards one behind the other; ``names`` is what errors call them."""
    indices = [shard.index for shard in shards]
    numbers = np.repeat(np.arange(len(shards)), [len(index.names) for index in indices])
    offsets, sizes = (
        np.array([value for index in indices for value in getattr(index, column)], np.int64)
        for column in ("offsets", "sizes")
    )
    return ShardReader(tuple(shard.shard for shard in shards), numbers, offsets, sizes, names)


def index_local(paths: Sequence[str], choice: Choice) -> list[IndexedShard]:
    """Shards on this disk.

    Raises:
        DataError: one cannot be used.
    """
    found = []
    with counting("walking shards", len(paths), "shards") as advance:
        for path in paths:
            found.append(_index_local(path, choice))
            advance(1)
    return found


def _index_local(path: str, choice: Choice) -> IndexedShard:
    try:
        stamp = shard_stamp(Path(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    index = recall_index(path, choice)
    if index is None or index.stamp != stamp:
        index = index_shard(Path(path), path, choice)
        remember_index(path, choice, index)
    return IndexedShard(LocalShard(path, index.stamp), index)


def index_remote(urls: Sequence[str], choice: Choice, *, to_train: bool) -> list[IndexedShard]:
    """Shards behind http(s). All are kept in the cache folder if it may hold them, else only their indices.

    Args:
        urls: of the shards.
        choice: which extensions hold image and label.
        to_train: whether images will be compared by their looks, for splits and leaks, so that each has to be decoded.

    Raises:
        DataError: a shard that is not there or cannot be used, or too little room.
        DownloadError: a shard that cannot be fetched.
    """
    known = [recall_index(url, choice) for url in urls]
    answers = ask_servers(urls)
    if None in answers and any(known):
        note(f"{urlsplit(urls[0]).netloc} cannot be reached; what was fetched before is used")
    files = [answer or _remembered(url, index) for url, index, answer in zip(urls, known, answers, strict=True)]
    sizes = [file.size for file in files]  # -1: not known
    keeps = min(sizes) >= 0 and sum(sizes) <= shard_space()
    if keeps:
        check_disk(files)
    elif sum(sizes) > shard_space():
        _check_room(max(sizes))
    valid = [_if_valid(index, file) for file, index in zip(files, known, strict=True)]
    wanted = [index is None or (keeps and not file.path.exists()) for file, index in zip(files, valid, strict=True)]
    _announce(sizes, wanted)
    found = []
    with counting("fetching shards", sum(wanted), "shards") as advance:
        for file, index, is_wanted in zip(files, valid, wanted, strict=True):
            if is_wanted and keeps:
                file.bring()
            content = index or _index_remote(file, choice, None if keeps else to_train)
            found.append(IndexedShard(RemoteShard(file, content.size), content))
            advance(is_wanted)
    return found


def needs_order(shards: Sequence[IndexedShard]) -> bool:
    """Whether images should be read along few shards at a time: where not all fit, in memory or in the cache folder.

    Raises:
        DataError: not even those few fit.
    """
    sizes = [shard.index.size for shard in shards]
    if isinstance(shards[0].shard, LocalShard):
        return sum(sizes) > memory_bytes()
    if sum(sizes) <= shard_space():
        return False
    _check_room(max(sizes))
    return True


def _check_room(largest: int) -> None:
    if largest * (SHARDS_AT_ONCE + _SPARE) > shard_space():
        raise DataError(
            f"{SPACE} allows {shard_space() / 1e9:,.3g} GB, but {SHARDS_AT_ONCE + _SPARE} shards of up to "
            f"{largest / 1e9:,.3g} GB must lie on the disk at the same time; set it to more, or write smaller shards"
        )


def _remembered(url: str, index: ShardIndex | None) -> RemoteFile:
    """The file as it was when it was fetched."""
    size, _, version = index.stamp.partition("|") if index else ("", "", "")
    return RemoteFile(url, int(size), version) if size.isdecimal() else RemoteFile(url)  # fetching says what is wrong


def _announce(sizes: Sequence[int], wanted: Sequence[bool]) -> None:
    total = sum(max(0, size) for size in sizes)
    if any(wanted):
        coming = [size for size, is_wanted in zip(sizes, wanted, strict=True) if is_wanted]
        amount = f", {sum(coming) / 1e9:,.2f} GB" if min(coming) >= 0 else ""
        note(f"shards to fetch: {len(coming):,}{amount}")
    if total > shard_space():
        note(
            f"{total / 1e9:,.1f} GB of shards are more than the {shard_space() / 1e9:,.1f} GB that may be kept, so "
            f"each epoch fetches them anew; set {SPACE} to more to keep them"
        )


def _if_valid(index: ShardIndex | None, file: RemoteFile) -> ShardIndex | None:
    return index if index and index.stamp == file.stamp else None


def _index_remote(file: RemoteFile, choice: Choice, look_to_train: bool | None) -> ShardIndex:
    """Walks a shard, unless another process has just done so; looks at its images if their shard will not stay."""
    index = _if_valid(recall_index(file.url, choice), file)
    if index is not None:
        return index
    path = file.bring()
    try:
        index = replace(index_shard(path, file.url, choice), stamp=file.stamp)
    except DataError:
        path.unlink(missing_ok=True)  # the next start may find a better one
        raise
    if look_to_train is not None:
        _look_at(IndexedShard(RemoteShard(file, index.size), index), look_to_train)
    remember_index(file.url, choice, index)
    return index


def _look_at(shard: IndexedShard, to_train: bool) -> None:
    """Whatever will be asked of the images is found and remembered while their shard is here."""
    names = tuple(shard.index.names)
    images = Split(np.zeros(len(names), np.int64), names, shard_reader([shard], names))
    if to_train:
        collect_facts(images)
    else:
        collect_contents(images)
