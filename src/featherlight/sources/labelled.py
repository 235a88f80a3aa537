"""Images that come with the names of their splits and labels: one list of classes for all, what is missing is cut."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featherlight.console import note
from featherlight.errors import DataError, quote_names
from featherlight.sources.base import Reader, Source, Split, SplitName, Unreadable, take
from featherlight.sources.completing import SPLIT_WORDS, finish_source, missing_fractions

_WORDS: Mapping[str, SplitName] = {**SPLIT_WORDS, "dev": "val"}
_ORDER: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """Images of one split as they were found; the columns are those of :class:`Split`.

    Attributes:
        labels: a text an image, also where it is a number; None: there is none.
    """

    paths: tuple[str, ...]
    labels: Sequence[str | None]
    read: Reader
    groups: tuple[str, ...] | None = None
    shards: NDArray[np.int64] | None = None
    bring: Callable[[int], object] | None = None


def split_in_name(name: str) -> SplitName | None:
    """The split that a name tells: ``imagenet-train-0000.tar`` -> ``train``; None if it tells none, or several."""
    found = {_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def labelled_source(
    name: str,
    parts: Mapping[SplitName | None, Part],
    names: Sequence[str] | None,
    *,
    root: str,
    unreadable: Sequence[Unreadable] = (),
    strict: bool = False,
    as_it_is: bool = False,
) -> Source:
    """Makes a source of what was found.

    Args:
        name: what the user typed, absolute if a path.
        parts: images by split; those of None belong to no split yet.
        names: of the classes, in order; labels that are numbers count into it. None: the labels are the names.
        root: what all paths begin with; the fingerprint is the same wherever the data lies.
        unreadable: what could not be read so far, as (path, reason).
        strict: raise at the first image that cannot be read while splitting.
        as_it_is: nothing is cut, few images and a single class will do: the source is to be measured on.

    Raises:
        DataError: no images or labels, one class, classes that train does not have, no train, too few images to split.
    """
    found = {label for part in parts.values() for label in part.labels if label is not None}
    class_of = _class_of_label(name, found, names)
    classes = _order_classes(set(class_of.values()), names)
    place = {class_name: index for index, class_name in enumerate(classes)}
    number = {label: place[class_name] for label, class_name in class_of.items()}
    splits, unlabelled = _number(name, parts, number, as_it_is=as_it_is)
    if not as_it_is:
        _check(name, classes, splits, names)
        _warn_if_sorted(name, splits["train"])
    fractions = {} if as_it_is else missing_fractions(() if None in parts else splits)
    source = finish_source(name, Path(root), classes, splits, fractions, strict=strict)
    left_out = (*unreadable, *unlabelled, *source.unreadable)
    ordered = {split: source.splits[split] for split in _ORDER if split in source.splits}
    return dataclasses.replace(source, splits=ordered, unreadable=left_out)


def _class_of_label(name: str, found: set[str], names: Sequence[str] | None) -> dict[str | None, str]:
    """Label -> name of its class. Where all are numbers and there are names, they count into these."""
    if names is None:
        return {label: label for label in found}
    if len(set(names)) < len(names):
        raise DataError(f"{name}: two of its {len(names):,} class names are the same")
    known = {class_name: class_name for class_name in names}
    if all(label.isdecimal() for label in found):
        known = {label: names[int(label)] for label in found if int(label) < len(names)}
    strange = sorted(found - known.keys())
    if strange:
        raise DataError(f"{name}: the label '{strange[0][:100]}' is none of its {len(names):,} class names")
    return {label: known[label] for label in found}


def _order_classes(found: set[str], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(name for name in names if name in found)
    return tuple(sorted(found, key=int if all(text.isdecimal() for text in found) else str))


def _number(
    name: str,
    parts: Mapping[SplitName | None, Part],
    number: Mapping[str | None, int],
    *,
    as_it_is: bool,
) -> tuple[dict[SplitName, Split], list[Unreadable]]:
    """The splits with numbers for labels, and the images that have none."""
    splits: dict[SplitName, Split] = {}
    left_out: list[Unreadable] = []
    for split, part in parts.items():
        labels = np.array([number.get(label, -1) for label in part.labels], np.int64)
        has_label = np.flatnonzero(labels >= 0)
        if not len(has_label):
            note(f"{name}: none of the {len(labels):,} {split or ''} images has a label; they are left out")
            continue
        images = Split(labels, part.paths, part.read, groups=part.groups, shards=part.shards, bring=part.bring)
        if len(has_label) < len(labels):
            left_out += [(part.paths[k], "no label") for k in np.flatnonzero(labels < 0)]
            images = take(images, has_label)
        splits[split or ("test" if as_it_is else "train")] = images
    if not splits:
        raise DataError(
            f"{name}: not one image with a label; say where labels are by adding to the data's name: #label=NAME, an "
            "extension or JSON field in shards, a column in tables"
        )
    return splits, left_out


def _check(name: str, classes: Sequence[str], splits: Mapping[SplitName, Split], names: Sequence[str] | None) -> None:
    if "train" not in splits:
        raise DataError(f"{name}: has {', '.join(splits)}, but no train images with labels")
    total = sum(map(len, splits.values()))
    if len(classes) > 20 and len(classes) > total / 2:
        raise DataError(
            f"{name}: {total:,} images have {len(classes):,} different labels, {quote_names(classes, 3)}: these are no "
            "classes; say where the labels are by adding to the data's name: #label=NAME"
        )
    in_train = np.bincount(splits["train"].labels, minlength=len(classes)) > 0
    absent = [class_name for class_name, there in zip(classes, in_train, strict=True) if not there]
    if absent:
        raise DataError(f"{name}: val or test has classes that train does not have: {quote_names(absent)}")
    if len(classes) == 1:
        raise DataError(f"{name}: only one class, {quote_names(classes)}, so there is nothing to tell apart")
    known = set(classes)
    unused = [class_name for class_name in names or () if class_name not in known]
    if unused:
        note(f"{name}: classes without an image are left out: {quote_names(unused)}")


def _warn_if_sorted(name: str, train: Split) -> None:
    """Where images are read along shards, a batch can be no better mixed than a few shards are."""
    if train.shards is None:
        return
    number = np.unique(train.shards, return_inverse=True)[1]
    sizes = np.bincount(number)
    shares = np.bincount(train.labels) / len(train)
    pairs = len(np.unique(number * len(shares) + train.labels))  # of a shard and a class that it holds
    expected = sum(float((1 - (1 - shares) ** size).sum()) for size in sizes)
    if pairs < expected / 2:
        note(
            f"{name}: each shard holds images of few classes only, {pairs / len(sizes):.0f} in the mean, and so will "
            "each batch; training suffers from that. Shuffle the images before they are written to shards"
        )
