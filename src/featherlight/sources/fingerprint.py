"""Whether data is still the same: one short text over everything that training sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.base import Split, SplitName, take
from featherlight.sources.facts import collect_contents

READ_UP_TO = 100_000  # images; of larger data the sizes must do, since reading everything would delay each start


def fingerprint(classes: Sequence[str], splits: Mapping[SplitName, Split], root: str = "") -> str:
    """Changes when classes, labels, splits, weights, names or contents of images change.

    Of images on the network only the addresses count: nothing is fetched for it.

    Args:
        classes: names in label order.
        splits: all of them.
        root: folder that paths are taken from, so that the fingerprint is the same wherever the folder lies.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(_encode(classes))
    read = sum(map(len, splits.values())) <= READ_UP_TO
    for name, split in sorted(splits.items()):
        digest.update(f"\0\0{name}\0{len(split)}\0".encode())
        _add_rows(digest, split, os.path.join(root, "") if root else "", read=read)
    return digest.hexdigest()[:16]


def _add_rows(digest: hashlib._Hash, split: Split, start: str, *, read: bool) -> None:
    """Adds every image, in an order that does not depend on theirs; column by column, since there may be a million."""
    names = [path.removeprefix(start) for path in split.paths]
    weights = np.ones(len(split), np.float32) if split.weights is None else split.weights
    contents = np.zeros(len(split), np.uint64)  # of addresses, whether fetched already or not
    is_file = np.array(["://" not in path for path in split.paths], bool)
    files = split if is_file.all() else take(split, np.flatnonzero(is_file))
    contents[is_file] = collect_contents(files) if read else _sizes(files)
    rows = sorted(zip(names, split.labels.tolist(), contents.tolist(), weights.tolist(), strict=True))
    digest.update(_encode([name for name, *_ in rows]))
    for column, kind in enumerate(("<i8", "<u8", "<f4"), 1):
        digest.update(np.array([row[column] for row in rows], kind).tobytes())


def _encode(texts: Sequence[str]) -> bytes:
    return "\0".join(texts).encode("utf-8", "surrogatepass")


def _sizes(split: Split) -> NDArray[np.uint64]:
    """Size of each image as stored, as far as it can be told without reading; 0 elsewhere."""
    stamps = (split.read.stamp(position) for position in range(len(split)))
    return np.array([int(stamp.rsplit("|", 2)[1]) if stamp else 0 for stamp in stamps], np.uint64)
