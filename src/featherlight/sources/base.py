"""What every source of images gives: classes, and per split labels and a way to read image ``i``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "val", "test"]
RGBImage = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Split:
    """Labelled images in a fixed order.

    Attributes:
        labels: class index per image, int64, shape (N,).
        paths: what names each image in reports: a file's path, or ``digits/0042`` for built-in ones.
        read: index -> RGB uint8 array (H, W, 3), as a person sees the image; raises UnreadableImageError.
            Can be pickled, so that worker processes can call it.
    """

    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    read: Callable[[int], RGBImage] = field(repr=False)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Source:
    """Where images and labels come from.

    Attributes:
        name: what the user typed, made absolute if it is a path.
        classes: names in label order; their identity is the name, never the number.
        splits: always has ``train`` and ``val`` when it is used for training; ``test`` only if there is one.
        fingerprint: changes when labels, splits, or names and sizes of files (pixels, where there are none) change.
        flip_safe: whether a mirrored image keeps its meaning (digits and letters do not).
        unreadable: files left out while splitting, as (path, reason).
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[SplitName, Split]
    fingerprint: str
    flip_safe: bool = True
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Joined:
    """Reads image ``i`` of several splits one behind the other."""

    splits: tuple[Split, ...]

    def __call__(self, index: int) -> RGBImage:
        for split in self.splits:
            if index < len(split):
                return split.read(index)
            index -= len(split)
        raise IndexError(index)


def join_splits(source: Source) -> Split:
    """All images of a source as one split."""
    splits = tuple(source.splits.values())
    labels = np.concatenate([split.labels for split in splits])
    return Split(labels, tuple(path for split in splits for path in split.paths), _Joined(splits))
