"""What every source of images gives: classes, and per split labels and a way to read image ``i``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "val", "test"]
RGBImage = NDArray[np.uint8]  # (H, W, 3)
Unreadable = tuple[str, str]  # path, reason
SHARDS_AT_ONCE = 8  # where images are read along shards, those of so many are mixed


class Reader(Protocol):
    """Reads image ``i`` of a split. Can be pickled, so that worker processes can call it."""

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """Decodes image ``index`` to RGB uint8 (H, W, 3), as a person sees it.

        Args:
            index: place in the split.
            at_least: 0: exactly the image. Else a JPEG may come at a fraction of its size (a half, quarter or eighth),
                as long as both sides keep at least so many pixels. For training only.

        Raises:
            UnreadableImageError: the image cannot be decoded.
        """
        ...

    def encoded(self, index: int) -> bytes | None:
        """The image as it is stored, before decoding; None where only pixels are stored.

        Raises:
            UnreadableImageError: it cannot be read.
        """
        ...

    def stamp(self, index: int) -> str | None:
        """A text that changes when the stored image may have changed, found without reading it; None: unknown.

        For a file it is made of path, size and time. What is remembered about an image is kept under its stamp.
        """
        ...


@dataclass(frozen=True)
class Split:
    """Labelled images in a fixed order.

    Attributes:
        labels: class index per image, int64, shape (N,).
        paths: what names each image in reports: a file's path, or ``digits/0042`` for built-in ones.
        read: index -> RGB uint8 array (H, W, 3), see :class:`Reader`.
        weights: how much each image counts in training, float32 (N,), positive; None: all alike.
        groups: images of one group (a person, a video, an object) share a text; None: nobody said.
        shards: which storage shard holds each image, int64 (N,), where reading along a shard is cheap and jumping
            between shards is not; None: images can be read in any order.
        bring: fetches a shard in advance; None: shards are at hand.
    """

    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    read: Reader = field(repr=False)
    weights: NDArray[np.float32] | None = None
    groups: tuple[str, ...] | None = None
    shards: NDArray[np.int64] | None = None
    bring: Callable[[int], object] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Source:
    """Where images and labels come from.

    Attributes:
        name: what the user typed, made absolute if it is a path.
        classes: names in label order; their identity is the name, never the number.
        splits: always has ``train`` and ``val`` when it is used for training; ``test`` only if there is one.
        fingerprint: changes when labels, splits, names or contents of images change.
        flip_safe: whether a mirrored image keeps its meaning (digits and letters do not).
        unreadable: files left out while splitting, as (path, reason).
        own_splits: splits that were cut out by hash rather than given by whoever made the data.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[SplitName, Split]
    fingerprint: str
    flip_safe: bool = True
    unreadable: tuple[Unreadable, ...] = ()
    own_splits: tuple[SplitName, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """Some images of another reader: image ``i`` is its image ``indices[i]``."""

    reader: Reader
    indices: NDArray[np.int64]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """See :class:`Reader`."""
        return self.reader(int(self.indices[index]), at_least)

    def encoded(self, index: int) -> bytes | None:
        """See :class:`Reader`."""
        return self.reader.encoded(int(self.indices[index]))

    def stamp(self, index: int) -> str | None:
        """See :class:`Reader`."""
        return self.reader.stamp(int(self.indices[index]))


_Values = TypeVar("_Values", bound=np.generic)


def take(split: Split, indices: NDArray[np.int64]) -> Split:
    """The images of ``split`` at ``indices``, in that order."""

    def pick(values: NDArray[_Values] | None) -> NDArray[_Values] | None:
        return None if values is None else values[indices]

    return dataclasses.replace(
        split,
        labels=split.labels[indices],
        paths=tuple(split.paths[i] for i in indices),
        read=Chosen(split.read, indices),
        weights=pick(split.weights),
        groups=None if split.groups is None else tuple(split.groups[i] for i in indices),
        shards=pick(split.shards),
    )


def sample(split: Split, count: int) -> list[int]:
    """Positions of a few images: evenly spread, or where shards are fetched, out of the one that was fetched last."""
    near = np.arange(len(split))
    if split.bring is not None and split.shards is not None:
        near = np.flatnonzero(split.shards == split.shards[-1])
    chosen: list[int] = near[np.linspace(0, len(near) - 1, min(len(near), count)).astype(int)].tolist()
    return chosen


@dataclass(frozen=True)
class _Joined:
    """Reads image ``i`` of several splits one behind the other."""

    splits: tuple[Split, ...]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        reader, local = self._find(index)
        return reader(local, at_least)

    def encoded(self, index: int) -> bytes | None:
        reader, local = self._find(index)
        return reader.encoded(local)

    def stamp(self, index: int) -> str | None:
        reader, local = self._find(index)
        return reader.stamp(local)

    def _find(self, index: int) -> tuple[Reader, int]:
        for split in self.splits:
            if index < len(split):
                return split.read, index
            index -= len(split)
        raise IndexError(index)


def join_splits(source: Source) -> Split:
    """All images of a source as one split: labels, paths, groups; without weights and shards."""
    splits = tuple(source.splits.values())
    groups = [split.groups for split in splits]
    return Split(
        np.concatenate([split.labels for split in splits]),
        tuple(path for split in splits for path in split.paths),
        _Joined(splits),
        groups=None if None in groups else tuple(name for names in groups for name in names or ()),
    )
