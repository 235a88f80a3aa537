"""What to train on instead: the data without what is certainly wrong. Nothing is changed but a list.

What is left out: files that cannot be read, images in no class or in a class that train lacks, copies with different
labels, copies beyond one, and of what leaks the side that learns, so that the images that measure stay as they are.
Opinions are not acted on: near duplicates with different labels and probable label errors stay in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from featherlight.sources.findings.checked import NOWHERE, SPLITS, Checked
from featherlight.sources.findings.copies import near_edges

MOST_LEFT_OUT = 0.5  # of the training images, for near leaks and torn groups; else the splits themselves are at fault


@dataclass(frozen=True)
class LeftOut:
    """An image that is left out.

    Attributes:
        kind: of the finding.
        reason: a few words.
        instead: position of the image that stays in its place; ``NOWHERE``: none.
    """

    kind: str
    reason: str
    instead: int = NOWHERE


@dataclass
class Cleaned:
    """What stays and what does not.

    Attributes:
        left_out: position -> why.
        remark: what could not be mended; empty if all could.
    """

    left_out: dict[int, LeftOut] = field(default_factory=dict)
    remark: str = ""

    def kept(self, count: int) -> list[int]:
        """Positions of the ``count`` images that stay."""
        return [position for position in range(count) if position not in self.left_out]


def clean(checked: Checked) -> Cleaned:
    """Decides what to leave out."""
    cleaned = Cleaned()
    _leave_out_unusable(checked, cleaned.left_out)
    _leave_out_copies(checked, cleaned.left_out)
    for leaks in (_near_leaks(checked, cleaned.left_out), _torn_groups(checked, cleaned.left_out)):
        learned = sum(checked.survey.sides[position] == 0 for position in leaks)
        if learned > MOST_LEFT_OUT * np.sum(checked.survey.sides == 0):
            cleaned.remark = (
                f"{learned:,} training images are close to images that measure. They stay in: without them little "
                "would be left. Put all images into one folder a class, so that training cuts splits that fit"
            )
        else:
            cleaned.left_out.update(leaks)
    _leave_out_unlearned(checked, cleaned.left_out)
    return cleaned


def _leave_out_unusable(checked: Checked, out: dict[int, LeftOut]) -> None:
    for position, reason in checked.facts.reasons.items():
        out[position] = LeftOut("unreadable", reason)
    for position in np.flatnonzero(checked.survey.images.labels == NOWHERE).tolist():
        out.setdefault(position, LeftOut("layout", "lies in no class"))
    for position, path in enumerate(checked.survey.images.paths):
        if not _is_utf8(path) or not _is_utf8(checked.class_of(position)):
            out.setdefault(position, LeftOut("layout", "its name is no UTF-8, so a manifest cannot hold it"))


def _is_utf8(name: str) -> bool:
    return name.isascii() or name.encode("utf-8", "ignore").decode() == name


def _leave_out_copies(checked: Checked, out: dict[int, LeftOut]) -> None:
    """All copies where labels differ; else all but the first of those that measure, or the first of all."""
    for copies in checked.duplicates.exact:
        places = [int(place) for place in copies if int(place) not in out]
        classes = sorted({checked.class_of(place) for place in places})
        if len(classes) > 1:
            for place in places:
                out[place] = LeftOut("label_conflict", f"the same pixels in the classes {', '.join(classes)}")
            continue
        kept, *others = sorted(places, key=lambda place: (-checked.survey.sides[place], place)) or [NOWHERE]
        for place in others:
            torn = checked.survey.sides[place] != checked.survey.sides[kept]
            out[place] = LeftOut("leak" if torn else "duplicate", f"the same pixels{_in_split(checked, kept)}", kept)


def _near_leaks(checked: Checked, out: dict[int, LeftOut]) -> dict[int, LeftOut]:
    """Of near duplicates on two sides the one that learns; test images rule before validation images."""
    sides = checked.survey.sides
    edges = [(one, other) if sides[one] > sides[other] else (other, one) for one, other in near_edges(checked)]
    leaks: dict[int, LeftOut] = {}
    for kept, other in sorted(edges, key=lambda edge: -sides[edge[0]]):
        if sides[kept] != sides[other] and not {kept, other} & out.keys() and kept not in leaks:
            leaks.setdefault(other, LeftOut("leak", f"nearly the same{_in_split(checked, kept)}", kept))
    return leaks


def _torn_groups(checked: Checked, out: dict[int, LeftOut]) -> dict[int, LeftOut]:
    """Of a group on several sides all images but those on the side that measures most strictly."""
    groups = checked.survey.images.groups or ()
    highest: dict[str, int] = {}
    for position, group in enumerate(groups):
        if group and position not in out:
            highest[group] = max(highest.get(group, 0), int(checked.survey.sides[position]))
    return {
        position: LeftOut("leak", f"the group {group} is in {SPLITS[highest[group]]} too")
        for position, group in enumerate(groups)
        if group and position not in out and checked.survey.sides[position] < highest[group]
    }


def _leave_out_unlearned(checked: Checked, out: dict[int, LeftOut]) -> None:
    """Images of classes that have none left on the side of train, which training would refuse."""
    labels, sides = checked.survey.images.labels, checked.survey.sides
    kept = np.array([position not in out for position in range(len(labels))], bool)
    learned = set(labels[kept & (sides == 0)].tolist())
    for position in np.flatnonzero(kept & (sides > 0)).tolist() if learned else ():
        if labels[position] not in learned:
            out[position] = LeftOut("missing_class", "train has no image of this class")


def _in_split(checked: Checked, position: int) -> str:
    return f" as one in {SPLITS[checked.survey.sides[position]]}"
