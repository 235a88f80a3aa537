"""Findings about copies, exact and near: within a class, in two classes, on both sides of a split; and torn groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from featherlight.phrases import joined, phrase
from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Checked
from featherlight.sources.findings.wording import count, named

Edge = tuple[int, int]


def find_exact_copies(checked: Checked) -> Iterator[Finding]:
    """Pictures that occur more than once, pixel for pixel."""
    for copies in checked.duplicates.exact:
        places = _held_out_first(checked, copies.tolist())
        splits, classes = _splits_of(checked, places), _classes_of(checked, places)
        if len(splits) > 1:
            text = phrase(
                "the same pixels in {splits}; accuracy is measured on what was learned", splits=_and_splits(splits)
            )
            yield checked.about("leak", "error", places, text)
        if len(classes) > 1:
            text = phrase(
                "the same pixels in the classes {classes}; one of them is wrong, or the image shows both",
                classes=_and_classes(classes),
            )
            yield checked.about("label_conflict", "error", places, text)
        if len(splits) < 2 and len(classes) < 2:
            yield checked.about("duplicate", "warning", places, _copies_of(places, classes[0]))


def find_near_copies(checked: Checked) -> Iterator[Finding]:
    """Images that look nearly the same."""
    sides = checked.survey.sides
    leaks, conflicts, alike = list[Edge](), list[Edge](), list[Edge]()
    for one, other in near_edges(checked):
        torn = len(_splits_of(checked, (one, other))) > 1
        classes = {checked.class_of(one), checked.class_of(other)} - {""}
        if torn:
            leaks.append((one, other) if sides[one] > sides[other] else (other, one))
        if len(classes) > 1:
            conflicts.append((one, other))
        if not torn and len(classes) < 2:
            alike.append((one, other))
    yield from _tell_leaks(checked, leaks)
    for places in stars(conflicts):
        text = phrase(
            "look nearly the same, in the classes {classes}; is one of them wrong?",
            classes=_and_classes(_classes_of(checked, places)),
        )
        yield checked.about("label_conflict", "warning", places, text)
    for places in stars(alike):
        yield checked.about("near_duplicate", "note", places, phrase("look nearly the same"))


def find_torn_groups(checked: Checked) -> Iterator[Finding]:
    """Groups that somebody told, of which images are on both sides of a split."""
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(checked.survey.images.groups or ()):
        if group:
            members[group].append(position)
    for group, positions in members.items():
        places = _held_out_first(checked, positions)
        splits = _splits_of(checked, places)
        if len(splits) > 1:
            text = phrase(
                "the group {group} has images in {splits}; accuracy there counts what was learned by heart",
                group=group, splits=_and_splits(splits),
            )  # fmt: skip
            yield checked.about("leak", "warning", places, text)


def near_edges(checked: Checked) -> Iterator[Edge]:
    """Pairs that look alike, exact copies taken in: of each the first on every side and in every class."""
    speakers: dict[int, list[int]] = {}
    for copies in checked.duplicates.exact:
        kinds = {(int(checked.survey.sides[c]), int(checked.survey.images.labels[c])): int(c) for c in copies[::-1]}
        speakers[int(copies[0])] = sorted(kinds.values())
    for one, other in checked.duplicates.near.tolist():
        yield from product(speakers.get(one, [one]), speakers.get(other, [other]))


def stars(edges: Iterable[Edge]) -> list[list[int]]:
    """Deals pairs into stars: an image first, then some that pair with it; every image of a pair is in at least one.

    So all that is shown together really pairs with the first, however long the chains are.
    """
    partners: dict[int, list[int]] = defaultdict(list)
    for one, other in edges:
        partners[one].append(other)
        partners[other].append(one)
    told: set[int] = set()
    found = []
    for centre in sorted(partners):
        if centre in told:
            continue
        near = sorted(set(partners[centre]))
        fresh = [place for place in near if place not in told]
        found.append([centre, *(fresh or near[:1])])
        told.update(found[-1])
    return found


def _tell_leaks(checked: Checked, edges: list[Edge]) -> Iterator[Finding]:
    """A finding an image that measures, with those like it that are learned."""
    learned: dict[int, set[int]] = defaultdict(set)
    for held_out, other in edges:
        learned[held_out].add(other)
    for held_out, others in sorted(learned.items()):
        places = [held_out, *sorted(others)]
        text = phrase(
            "look nearly the same, in {splits}; accuracy is measured on what was learned",
            splits=_and_splits(_splits_of(checked, places)),
        )
        yield checked.about("leak", "warning", places, text)


def _copies_of(places: Sequence[int], name: str) -> str:
    files = count(places, "file")
    if name:
        return phrase("{files} of {name} with the same pixels", files=files, name=name)
    return phrase("{files} with the same pixels", files=files)


def _held_out_first(checked: Checked, places: Sequence[int]) -> list[int]:
    return sorted(places, key=lambda place: (-checked.survey.sides[place], place))


def _splits_of(checked: Checked, places: Sequence[int]) -> list[str]:
    """The splits, as given, that images are in; what lies in no class is in none."""
    used = [place for place in places if checked.survey.images.labels[place] != NOWHERE]
    return [SPLITS[side] for side in sorted({int(checked.survey.sides[place]) for place in used})]


def _classes_of(checked: Checked, places: Sequence[int]) -> list[str]:
    found = {checked.class_of(place) for place in places}
    return sorted(found - {""}) or [""]


def _and_classes(classes: Sequence[str]) -> str:
    return joined(classes) if len(classes) < 3 else named(classes)


def _and_splits(splits: Sequence[str]) -> str:
    return joined([phrase(split) for split in splits])
