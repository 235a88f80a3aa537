"""Splitting by a hash of decoded pixels: old images never move, identical images stay on one side."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from featherlight.errors import DataError, FeatherlightError, UnreadableImageError
from featherlight.files import write_text
from featherlight.images import load_image
from featherlight.sources.base import RGBImage, SplitName

_RANGE = 2**64
_CacheEntry = list[int]  # size in bytes, modification time in ns, pixel hash


def pixel_hash(image: RGBImage) -> int:
    """A 64-bit number that depends on nothing but shape and pixels."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "big")


def split_by_hash(hashes: Sequence[int], fractions: Mapping[SplitName, float]) -> dict[SplitName, NDArray[np.int64]]:
    """Gives each image to a split by its own hash and nothing else.

    So an image stays where it is whatever else comes or goes, and equal pixels are always together.

    Args:
        hashes: pixel hashes, 0 <= hash < 2**64.
        fractions: expected share of each split; together 1.

    Returns:
        Per split the positions in ``hashes``, ascending.
    """
    bounds = [round(share * _RANGE) for share in accumulate(list(fractions.values())[:-1])]
    chosen = np.searchsorted(np.array(bounds, np.uint64), np.array(hashes, np.uint64), side="right")
    return {split: np.flatnonzero(chosen == position) for position, split in enumerate(fractions)}


def check_splits(name: str, classes: Sequence[str], labels: Mapping[SplitName, NDArray[np.int64]]) -> None:
    """Refuses a split by hash that cannot be trained on.

    Raises:
        DataError: a class has no training image, or validation has no image at all.
    """
    own = "add more, or make train/ and val/ folders yourself"
    total = sum(np.bincount(values, minlength=len(classes)) for values in labels.values())
    for class_name, in_train, in_all in zip(
        classes, np.bincount(labels["train"], minlength=len(classes)), np.atleast_1d(total), strict=True
    ):
        if not in_train:
            raise DataError(f"{name}: class '{class_name}' has only {in_all} readable images, none in train: {own}")
    if not len(labels["val"]):
        raise DataError(f"{name}: {np.sum(total)} images are too few to set some aside for validation: {own}")


def hash_files(root: Path, relative: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pixel hashes of image files, decoded on all cores and remembered for the next start.

    Args:
        root: folder that the paths start from.
        relative: POSIX paths below ``root``.

    Returns:
        Hash by relative path, and the unreadable files as (full path, reason). These are not remembered.
    """
    cache_file = _cache_file(root)
    known = _read_cache(cache_file)
    with ThreadPoolExecutor(_count_cores()) as pool:  # Pillow's decoders release the GIL
        results = list(pool.map(lambda path: _hash_file(root, path, known.get(path)), relative))
    entries = {path: result for path, result in zip(relative, results, strict=True) if isinstance(result, list)}
    if entries != known:
        with suppress(FeatherlightError):  # a cache that cannot be written costs time, nothing else
            write_text(cache_file, json.dumps({"pillow": PIL.__version__, "files": entries}))
    unreadable = [(error.path, error.reason) for error in results if isinstance(error, UnreadableImageError)]
    return {path: entry[2] for path, entry in entries.items()}, unreadable


def cache_folder() -> Path:
    """Where things are kept that can be made again: ``$FEATHERLIGHT_CACHE``, else the user's cache folder."""
    own = os.environ.get("FEATHERLIGHT_CACHE")
    if own:
        return Path(os.path.expanduser(own))
    return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "featherlight"


def _hash_file(root: Path, relative: str, known: _CacheEntry | None) -> _CacheEntry | UnreadableImageError:
    path = os.path.join(root, relative)
    try:
        status = os.stat(path)
        if known and known[:2] == [status.st_size, status.st_mtime_ns]:
            return known
        return [status.st_size, status.st_mtime_ns, pixel_hash(load_image(path))]
    except UnreadableImageError as error:
        return error
    except OSError as error:
        return UnreadableImageError(path, (error.strerror or "cannot be opened").lower())


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache_file(root: Path) -> Path:
    key = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:16]
    return cache_folder() / "hashes" / f"{key}.json"


def _read_cache(file: Path) -> dict[str, _CacheEntry]:
    """What an earlier start remembered. Another Pillow may decode other pixels, so its hashes do not count."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["pillow"] != PIL.__version__:
            return {}
        return {path: entry for path, entry in content["files"].items() if _is_entry(entry)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # absent or damaged
        return {}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 3
        and all(type(value) is int for value in entry)
        and 0 <= entry[2] < _RANGE
    )
