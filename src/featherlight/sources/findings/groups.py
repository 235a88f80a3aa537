"""Findings about names: several photos of one person, video or object, told by their file names.

Images of one group look alike. If they fall on both sides of a split, accuracy counts what was learned by heart. Nobody
can tell groups from names with certainty, so names propose and looks decide: each proposal is compared with chance.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import UsageError
from featherlight.phrases import phrase
from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import NOWHERE, Checked
from featherlight.sources.findings.likeness import Likeness, compare_groups
from featherlight.sources.grouping import group_names

COVERED = 0.8  # of the images must be in groups of several
MOST_IN_ONE = 0.5  # of the images; a larger group is no group but the way all files are called
LEAST_GROUPS = 6
LEAST_COUNTER_GROUPS = 30  # so that splits can be cut
EXAMPLES = 6

_FOLDERS = r"([^/]+)/[^/]+$"
_IN_NAMES = (  # expressions for --group-by, the most telling first
    (phrase("names with two numbers, as cat_03_frame12,"), r"([^/]*\d)[^\d/]+\d+[^\d/]*$"),
    (phrase("names that end in a number, as anna_12,"), r"([^/]*[^\W\d_])[\W_]*\d+[^\d/]*$"),
    (phrase("names that begin alike, as p012_left,"), r"([^/_-]+)[_-][^/]*$"),
)
_COUNTERS = (  # a camera's, as IMG_1118: counted on from class to class, or begun anew in each folder
    r"(\d+)\d\d\D*$",
    r"(\d+)\d\D*$",
    r"([^/]+/\D*\d+)\d\D*$",
)


@dataclass(frozen=True)
class _Proposal:
    what: str
    pattern: str
    groups: NDArray[np.int64]  # of each image; negative: none
    is_counter: bool = False


def find_groups(checked: Checked) -> Iterator[Finding]:
    """Proposes an expression for ``--group-by``, if nobody has given one and the names of files suggest it."""
    if checked.survey.images.groups is not None:
        return
    used = np.flatnonzero(checked.facts.readable & (checked.survey.images.labels != NOWHERE))
    if not len(used):
        return
    labels, thumbs = checked.survey.images.labels[used], checked.facts.thumbs[used]
    unsure: Finding | None = None
    for proposal in _proposals(checked, used, labels):
        likeness = compare_groups(proposal.groups, labels, thumbs)
        if likeness.is_sure:
            yield _tell(checked, used, proposal, likeness)
            return
        if unsure is None and not proposal.is_counter:
            unsure = _tell(checked, used, proposal, likeness)
    if unsure is not None:
        yield unsure


def _proposals(checked: Checked, used: NDArray[np.int64], labels: NDArray[np.int64]) -> Iterator[_Proposal]:
    root = f"{checked.survey.name.rstrip('/')}/"
    paths = [path.removeprefix(root) for path in checked.paths(used)]
    if _all_below_class_folders(checked, used):
        yield from _if_groups(phrase("the folders below the class folders"), _FOLDERS, paths, labels)
    for what, pattern in _IN_NAMES:
        yield from _if_groups(what, pattern, paths, labels)
    for pattern in _COUNTERS:
        for proposal in _if_groups(phrase("the numbers of a camera, as IMG_1118,"), pattern, paths, labels):
            if proposal.groups.max() + 1 >= LEAST_COUNTER_GROUPS:
                yield _Proposal(proposal.what, pattern, proposal.groups, is_counter=True)


def _all_below_class_folders(checked: Checked, used: NDArray[np.int64]) -> bool:
    """Whether every image lies in a folder of its class folder, not in that itself."""
    folders = {folder for where in checked.survey.folders.values() for folder in where.values()}
    return bool(folders) and all(path.rsplit("/", 1)[0] not in folders for path in checked.paths(used))


def _if_groups(what: str, pattern: str, paths: Sequence[str], labels: NDArray[np.int64]) -> Iterator[_Proposal]:
    """The proposal, if what ``pattern`` finds are groups: several images each, several groups a class."""
    try:
        names = group_names(paths, pattern)
    except UsageError:  # found nowhere
        return
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(name, len(numbers)) if name else -1 for name in names])
    sizes = np.bincount(groups[groups >= 0])
    in_several = sizes[sizes > 1].sum()
    wanted = max(LEAST_GROUPS, 2 * len(set(labels.tolist())))
    if in_several >= COVERED * len(paths) and sizes.max() <= MOST_IN_ONE * len(paths) and (sizes > 1).sum() >= wanted:
        yield _Proposal(what, pattern, groups)


def _tell(checked: Checked, used: NDArray[np.int64], proposal: _Proposal, likeness: Likeness) -> Finding:
    groups = proposal.groups
    sizes = np.bincount(groups[groups >= 0])
    example = used[np.flatnonzero(groups == np.argmax(sizes))[:EXAMPLES]]
    if likeness.is_sure:
        looks = phrase("images of one group differ {share} less than others", share=f"{1 - likeness.ratio:.0%}")
    else:
        looks = phrase("though images of one group look no more alike than others")
    torn = _count_torn(groups, checked.survey.sides[used])
    if torn:
        looks = phrase("{looks}. {torn} of them have images in more than one split", looks=looks, torn=f"{torn:,}")
    text = phrase(
        "{what} suggest {number} groups of images that belong together; {looks}. Keep each on one side of the split: "
        "{option}",
        what=proposal.what, number=f"{len(sizes):,}", looks=looks,
        option=f"--group-by {shlex.quote(proposal.pattern)}",
    )  # fmt: skip
    return checked.about("group", "warning" if likeness.is_sure else "note", example, text)


def _count_torn(groups: NDArray[np.int64], sides: NDArray[np.int64]) -> int:
    pairs = np.unique(np.stack((groups[groups >= 0], sides[groups >= 0])), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())
