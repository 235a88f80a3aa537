"""WebDataset: images with their labels in tar shards, in a folder, by a pattern of names, or behind http(s).

Format: https://github.com/webdataset/webdataset. Plain tar files are read by their index, in any order, so an epoch
has an exact length, and any number of processes shares it without overlap.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from featherlight.console import note
from featherlight.errors import DataError, UsageError
from featherlight.sources.base import Source, SplitName
from featherlight.sources.braces import expand_braces
from featherlight.sources.choice import Choice
from featherlight.sources.class_names import find_class_names
from featherlight.sources.grouping import group_names
from featherlight.sources.kinds import PACKED_SHARDS, WEB
from featherlight.sources.labelled import Part, labelled_source, split_in_name
from featherlight.sources.shard_indices import IndexedShard, index_all, needs_order, shard_reader

_DEPTH = 2  # folders: data/, or train/ and val/


def open_webdataset(
    data: str,
    choice: Choice,
    *,
    strict: bool = False,
    as_it_is: bool = False,
    group_by: str | None = None,
) -> Source:
    """Opens shards; their names tell the splits (``train-0000.tar``), or the folders that they lie in.

    Args:
        data: a folder, a tar file, a pattern (``{0000..0099}``, ``*``), or several with ``::`` between them; also URLs.
        choice: which extensions hold image and label.
        strict: raise at the first image that cannot be read while splitting.
        as_it_is: nothing is split; all of it is to be measured on.
        group_by: regular expression searched in ``SHARD/NAME``; what it finds tells groups.

    Raises:
        UsageError: a pattern or URL that cannot be used.
        DataError: no shards, damaged or compressed ones, or what :func:`labelled_source` refuses.
        DownloadError: a shard that cannot be fetched.
    """
    name, places = _find_shards(data)
    packed = next((place for place in places if place.lower().endswith(PACKED_SHARDS)), None)
    if packed:
        raise DataError(f"{packed}: is compressed, so images in it cannot be found by their place; unpack it to a .tar")
    splits = _split_shards(name, places)
    shards = index_all(places, choice, to_train=not as_it_is)
    is_ordered = needs_order(shards)
    parts = {}
    for split in dict.fromkeys(splits):
        own = [shard for shard, its in zip(shards, splits, strict=True) if its == split]
        parts[split] = _make_part(own, group_by, is_ordered=is_ordered)
    reason = "no image in this sample"
    empty = [(f"{_shown(shard.shard.place)}/{key}", reason) for shard in shards for key in shard.index.without_image]
    names = find_class_names(_folders_of_names(data, places))
    root = os.path.commonpath([os.path.dirname(_shown(place)) for place in places])
    return labelled_source(
        f"{name}{choice}", parts, names, root=root, unreadable=empty, strict=strict, as_it_is=as_it_is
    )


def _find_shards(data: str) -> tuple[str, list[str]]:
    """The data's full name and the shards in order, as absolute paths or URLs."""
    if os.path.isdir(data):
        root = os.path.abspath(data)
        return root, _in_folder(Path(root))
    parts = data.split("::")
    is_url = [part.lower().startswith(WEB) for part in parts]
    if any(is_url):
        if not all(is_url):
            raise UsageError(f"{data}: shards on this disk and behind http(s) cannot be mixed")
        return data, [url for part in parts for url in _expand_url(part)]
    strange = next((part for part in parts if "://" in part or part.startswith("pipe:")), None)
    if strange:
        raise UsageError(f"{strange}: shards are read from this disk or behind http(s), from nowhere else")
    parts = [os.path.abspath(os.path.expanduser(part)) for part in parts]
    return "::".join(parts), [path for part in parts for path in _expand_path(part)]


def _in_folder(root: Path, depth: int = _DEPTH) -> list[str]:
    try:
        listed = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{root}: cannot be listed ({error.strerror or error})") from error
    entries = sorted(listed, key=lambda entry: entry.name)
    found = [entry.path for entry in entries if entry.name.lower().endswith(".tar") and entry.is_file()]
    for entry in entries if depth > 1 else []:
        found += _in_folder(Path(entry.path), depth - 1) if entry.is_dir() else []
    return found


def _expand_path(pattern: str) -> list[str]:
    if os.path.exists(pattern):
        return [pattern]
    found: list[str] = []
    for name in expand_braces(pattern):
        matches = sorted(glob.glob(name)) if glob.has_magic(name) and not os.path.exists(name) else [name]
        missing = name if not matches else next((match for match in matches if not os.path.isfile(match)), None)
        if missing:
            raise DataError(f"{missing}: no such shard")
        found += matches
    return found


def _expand_url(pattern: str) -> list[str]:
    parts = urlsplit(pattern)
    if parts.username or parts.password:
        raise UsageError(
            f"{parts.hostname}: a name or password in the address would be written into every model file; "
            "fetch the shards by other means and give their paths"
        )
    if parts.query:
        note(f"the whole address, with what stands behind the question mark, is written into the model file: {pattern}")
    urls = expand_braces(pattern)
    strange = next((url for url in urls if not urlsplit(url).path.lower().endswith((".tar", *PACKED_SHARDS))), None)
    if strange:
        raise DataError(f"{strange}: what can be read behind http(s) are WebDataset shards (.tar)")
    return urls


def _split_shards(name: str, places: Sequence[str]) -> list[SplitName | None]:
    """The split of each shard, told by its name, else by its folder's; all None where neither tells them apart."""
    paths = [urlsplit(place).path if "://" in place else place for place in places]
    by_name = [split_in_name(os.path.basename(path)) for path in paths]
    by_folder = [split_in_name(os.path.basename(os.path.dirname(path))) for path in paths]
    found = by_name if any(by_name) else by_folder if "train" in by_folder else [None] * len(places)
    untold = [place for place, split in zip(places, found, strict=True) if split is None]
    if untold and len(untold) < len(places):
        raise DataError(
            f"{untold[0]}: its name tells no split, while others do; rename it, or name the shards to use, "
            f"for example {name if '{' in name else 'train-{0000..0099}.tar::val-{0000..0009}.tar'}"
        )
    return list(found)


def _folders_of_names(data: str, places: Sequence[str]) -> list[str]:
    """Where class names may be written down: beside the shards; above, if the folder is that of a split."""
    is_remote = "://" in places[0]
    beside = urljoin(places[0], ".").rstrip("/") if is_remote else os.path.dirname(places[0])
    above = [os.path.dirname(beside)] if split_in_name(os.path.basename(beside)) else []
    return list(dict.fromkeys([*([os.path.abspath(data)] if os.path.isdir(data) else []), beside, *above]))


def _make_part(shards: Sequence[IndexedShard], group_by: str | None, *, is_ordered: bool) -> Part:
    paths = tuple(f"{_shown(shard.shard.place)}/{name}" for shard in shards for name in shard.index.names)
    reader = shard_reader(shards, paths)
    groups = None
    if group_by is not None:
        places = [os.path.basename(_shown(shard.shard.place)) for shard in shards for _ in shard.index.names]
        names = [name for shard in shards for name in shard.index.names]
        groups = group_names([f"{place}/{name}" for place, name in zip(places, names, strict=True)], group_by)
    return Part(
        paths,
        [label for shard in shards for label in shard.index.labels],
        reader,
        groups=groups,
        shards=reader.numbers if is_ordered else None,
        bring=reader.bring if is_ordered and "://" in shards[0].shard.place else None,
    )


def _shown(place: str) -> str:
    """A shard's path, or of its address host and path: images in it are at hand, and what follows ? may be secret."""
    return place.partition("://")[2].partition("?")[0] if "://" in place else place
