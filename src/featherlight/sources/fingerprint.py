"""Whether data is still the same: one short text over everything that training sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np

from featherlight.sources.base import Split, SplitName
from featherlight.sources.facts import collect_contents

READ_UP_TO = 100_000  # images; of larger data the sizes must do, since reading everything would delay each start


def fingerprint(classes: Sequence[str], splits: Mapping[SplitName, Split], root: str = "") -> str:
    """Changes when classes, labels, splits, weights, names or contents of images change.

    Args:
        classes: names in label order.
        splits: all of them.
        root: folder that paths are taken from, so that the fingerprint is the same wherever the folder lies.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256("\0".join(classes).encode("utf-8", "surrogateescape"))
    read = sum(map(len, splits.values())) <= READ_UP_TO
    for name, split in sorted(splits.items()):
        names = [os.path.relpath(path, root) if root else path for path in split.paths]
        contents = collect_contents(split) if read else _sizes(split)
        weights = np.ones(len(split), np.float32) if split.weights is None else split.weights
        digest.update(f"\0\0{name}".encode())
        for row in sorted(zip(names, split.labels.tolist(), contents.tolist(), weights.tolist(), strict=True)):
            digest.update("\0".join(map(str, ("", *row))).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _sizes(split: Split) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Size of each image as stored, as far as it can be told without reading; 0 elsewhere."""
    stamps = (split.read.stamp(position) for position in range(len(split)))
    return np.array([int(stamp.rsplit("|", 2)[1]) if stamp else 0 for stamp in stamps], np.uint64)
