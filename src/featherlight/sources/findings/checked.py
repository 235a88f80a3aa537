"""What a check works on: everything that was found, then everything that is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featherlight.sources.base import Split, SplitName
from featherlight.sources.duplicates import Duplicates, components, equal_groups
from featherlight.sources.facts import Facts
from featherlight.sources.findings.base import Finding, Severity

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
NOWHERE = -1  # of an image that is in no class, or in no split


@dataclass(frozen=True)
class Survey:
    """What was found, before any image is looked at.

    Attributes:
        name: the data, as the person named it.
        classes: names in label order, those without images too.
        images: all; label ``NOWHERE`` for images that lie in no class.
        sides: the split that whoever made the data put each image into, as a place in ``SPLITS``.
        splits: the split that training uses it for; differs from ``sides`` where the source has cut its own.
        fractions: what training will cut out of the images on the side of train; empty: nothing.
        folders: class -> split -> the folder that holds it, as the person named it; empty where there are none.
        findings: what is wrong with how the data is laid out.
        flip_safe: whether a mirrored image keeps its meaning.
    """

    name: str
    classes: tuple[str, ...]
    images: Split
    sides: NDArray[np.int64]
    splits: NDArray[np.int64]
    fractions: Mapping[SplitName, float] = field(default_factory=dict)
    folders: Mapping[str, Mapping[SplitName, str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    flip_safe: bool = True

    @property
    def is_split(self) -> bool:
        """Whether somebody has split the data; what is missing then may still be cut."""
        return "test" not in self.fractions


@dataclass(frozen=True)
class Checked:
    """A survey whose images have been looked at.

    Attributes:
        survey: what there is.
        facts: of its images.
        splits: the split that training uses each image for, as a place in ``SPLITS``; ``NOWHERE`` for none.
        duplicates: copies among all images.
        input_size: side of the network's input, pixels.
    """

    survey: Survey
    facts: Facts
    splits: NDArray[np.int64]
    duplicates: Duplicates
    input_size: int

    def paths(self, positions: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
        """The names of images."""
        return tuple(self.survey.images.paths[position] for position in positions)

    def about(
        self, kind: str, severity: Severity, positions: Sequence[int] | NDArray[np.int64], message: str
    ) -> Finding:
        """A finding about some images."""
        places = tuple(int(position) for position in positions)
        return Finding(kind, severity, self.paths(places), message, places)

    def class_of(self, position: int) -> str:
        """The class of an image; empty for one that lies in no class."""
        label = int(self.survey.images.labels[position])
        return "" if label == NOWHERE else self.survey.classes[label]

    def counts(self) -> NDArray[np.int64]:
        """Readable images by class and split, int64 (K, 3)."""
        used = np.flatnonzero((self.survey.images.labels != NOWHERE) & (self.splits != NOWHERE))
        table = np.zeros((len(self.survey.classes), len(SPLITS)), np.int64)
        np.add.at(table, (self.survey.images.labels[used], self.splits[used]), 1)
        return table

    def roots(self) -> NDArray[np.int64]:
        """A number an image, the same for images that hang together: copies, near duplicates, a group."""
        links = [self.duplicates.links()]
        if self.survey.images.groups is not None:
            names = np.array(self.survey.images.groups, object)
            named = np.flatnonzero(names != "")
            groups = (named[members] for members in equal_groups(names[named]))
            links += [np.stack((members[:-1], members[1:]), axis=1) for members in groups]
        return components(len(self.splits), np.concatenate(links))

    def present_splits(self) -> list[SplitName]:
        """The splits that the data has or that training will cut."""
        used = set(self.splits.tolist()) | set(self.survey.sides.tolist())
        return [name for place, name in enumerate(SPLITS) if place in used or name in self.survey.fractions]
