"""Sources that are one array in memory: reading, splits and fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.base import RGBImage, Source, Split, SplitName


@dataclass(frozen=True)
class ArrayReader:
    """Reads image ``i`` of a split out of an array that its splits share.

    Attributes:
        images: uint8 (N, H, W, 3).
        indices: which of them the split holds, int64.
    """

    images: NDArray[np.uint8]
    indices: NDArray[np.int64]

    def __call__(self, index: int) -> RGBImage:
        """Image ``index`` of the split, a copy that the caller may change."""
        image: RGBImage = self.images[self.indices[index]].copy()
        return image


def array_source(
    name: str,
    classes: Sequence[str],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    paths: Sequence[str],
    splits: Mapping[SplitName, NDArray[np.int64]],
    *,
    flip_safe: bool,
) -> Source:
    """Makes a source of images that are all in memory.

    Args:
        name: what the user typed, absolute if a path.
        classes: names in label order.
        images: uint8 (N, H, W, 3), contiguous; kept, not copied.
        labels: class index of each image.
        paths: what names each image in reports.
        splits: which images each split holds.
        flip_safe: whether a mirrored image keeps its meaning.
    """
    return Source(
        name=name,
        classes=tuple(classes),
        splits={
            split: Split(labels[chosen], tuple(paths[i] for i in chosen), ArrayReader(images, chosen))
            for split, chosen in splits.items()
        },
        fingerprint=_fingerprint(classes, images, labels, splits),
        flip_safe=flip_safe,
    )


def _fingerprint(
    classes: Sequence[str],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    splits: Mapping[SplitName, NDArray[np.int64]],
) -> str:
    digest = hashlib.sha256("\0".join(classes).encode())
    digest.update(f"\0{images.shape}".encode())
    digest.update(images.data)
    digest.update(labels.astype("<i8").tobytes())
    for split, chosen in sorted(splits.items()):
        digest.update(f"{split}\0{len(chosen)}\0".encode() + chosen.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
