"""Sources that are one array in memory: reading, splits and fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.base import RGBImage, Source, Split, SplitName, take


@dataclass(frozen=True)
class ArrayReader:
    """Reads image ``i`` out of an array.

    Attributes:
        images: uint8 (N, H, W, 3).
        digest: of ``images``; under it is remembered what is known of them.
    """

    images: NDArray[np.uint8]
    digest: str

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:  # noqa: ARG002  (nothing to decode)
        """Image ``index``, a copy that the caller may change."""
        image: RGBImage = self.images[index].copy()
        return image

    def encoded(self, index: int) -> None:  # noqa: ARG002
        """There is no file behind a pixel array."""
        return

    def stamp(self, index: int) -> str:
        """The array's digest and the place in it."""
        return f"{self.digest}|{self.images[0].nbytes}|{index}"


def array_split(images: NDArray[np.uint8], labels: NDArray[np.int64], paths: Sequence[str]) -> Split:
    """All images of an array as one split.

    Args:
        images: uint8 (N, H, W, 3), contiguous; kept, not copied.
        labels: class index of each image.
        paths: what names each image in reports.
    """
    digest = hashlib.blake2b(f"{images.shape}".encode(), digest_size=16)
    digest.update(images.data)
    return Split(labels, tuple(paths), ArrayReader(images, digest.hexdigest()))


def array_source(
    name: str,
    classes: Sequence[str],
    images: Split,
    splits: Mapping[SplitName, NDArray[np.int64]],
    *,
    flip_safe: bool,
    own_splits: tuple[SplitName, ...],
) -> Source:
    """Makes a source of images that are all in memory.

    Args:
        name: what the user typed, absolute if a path.
        classes: names in label order.
        images: all, made by :func:`array_split`.
        splits: which images each split holds.
        flip_safe: whether a mirrored image keeps its meaning.
        own_splits: the splits that were cut by hash.
    """
    return Source(
        name=name,
        classes=tuple(classes),
        splits={split: take(images, chosen) for split, chosen in splits.items()},
        fingerprint=_fingerprint(classes, images, splits),
        flip_safe=flip_safe,
        own_splits=own_splits,
    )


def _fingerprint(classes: Sequence[str], images: Split, splits: Mapping[SplitName, NDArray[np.int64]]) -> str:
    digest = hashlib.sha256("\0".join(classes).encode())
    digest.update(f"\0{images.read.stamp(0)}".encode())
    digest.update(images.labels.astype("<i8").tobytes())
    for split, chosen in sorted(splits.items()):
        digest.update(f"{split}\0{len(chosen)}\0".encode() + chosen.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
