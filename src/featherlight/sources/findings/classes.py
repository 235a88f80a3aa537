"""Findings about classes: absent, too small, unequal; and whether there is anything to tell apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import quote_names
from featherlight.sources.base import SplitName
from featherlight.sources.findings.base import Finding, Severity
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Checked
from featherlight.sources.findings.wording import NAMED, are, count

FEW_IMAGES = 20  # of a class in train: fewer say little about what the class looks like
UNEQUAL, VERY_UNEQUAL = 3.0, 10.0  # largest to smallest class


def find_class_problems(checked: Checked) -> Iterator[Finding]:
    """Everything that the table of images by class and split tells."""
    table = checked.counts()
    yield from _check_usable(checked, table)
    if len(table):
        yield from _find_missing(checked, table)
        yield from _find_small(checked, table[:, 0])
        yield from _find_imbalance(checked, table[:, 0])


def _check_usable(checked: Checked, table: NDArray[np.int64]) -> Iterator[Finding]:
    """What makes training impossible as a whole."""
    present = [name for name, row in zip(checked.survey.classes, table, strict=True) if row.any()]
    if len(present) == 1:
        text = f"only one class has images, {present[0]}, so there is nothing to tell apart"
        yield _about(checked, "layout", "error", present, None, text)
    if not checked.facts.readable.any():
        yield Finding("layout", "error", (checked.survey.name,), "not one image can be read")
    elif present and checked.survey.fractions and not table[:, SPLITS.index("val")].any():
        images = np.flatnonzero(checked.splits != NOWHERE)
        text = f"{count(images, 'image')} {are(images)} too few to set some aside for validation; add more"
        yield Finding("layout", "error", (checked.survey.name,), text)


def _find_missing(checked: Checked, table: NDArray[np.int64]) -> Iterator[Finding]:
    """Classes without images, and those that a split lacks."""
    everywhere = table.sum(axis=1)
    empty = _named(checked, everywhere == 0)
    if empty:
        has = "has" if len(empty) == 1 else "have"
        text = f"{count(empty, 'class')} {has} no readable image: {quote_names(empty, NAMED)}"
        yield _about(checked, "missing_class", "error", empty, None, text)
    for split in checked.present_splits():
        lacking = _named(checked, (table[:, SPLITS.index(split)] == 0) & (everywhere > 0))
        if not lacking or not table.any():
            continue
        is_cut = split in checked.survey.fractions
        severity: Severity = "error" if split == "train" else "note" if is_cut else "warning"
        why = {
            "error": "training refuses; add images or remove the class" if is_cut else "training refuses",
            "warning": f"how well {'it is' if len(lacking) == 1 else 'they are'} recognised cannot be measured there",
            "note": "so it fell out by chance; more images help",
        }[severity]
        where = f"{split} (cut by training itself)" if is_cut else split
        text = f"{count(lacking, 'class')} without an image in {where}: {quote_names(lacking, NAMED)}; {why}"
        yield _about(checked, "missing_class", severity, lacking, None, text)


def _find_small(checked: Checked, train: NDArray[np.int64]) -> Iterator[Finding]:
    chosen = (train > 0) & (train < FEW_IMAGES)
    if chosen.any():
        small = _named(checked, chosen)
        has = "has" if len(small) == 1 else "have"
        text = (
            f"{count(small, 'class')} {has} fewer than {FEW_IMAGES} training images: {quote_names(small, NAMED)}; "
            f"the smallest has {train[chosen].min()}"
        )
        yield _about(checked, "small_class", "warning", small, "train", text)


def _find_imbalance(checked: Checked, train: NDArray[np.int64]) -> Iterator[Finding]:
    used = np.flatnonzero(train)
    if len(used) < 2:
        return
    small, large = int(used[np.argmin(train[used])]), int(np.argmax(train))
    ratio = train[large] / train[small]
    if ratio >= UNEQUAL:
        least, most = checked.survey.classes[small], checked.survey.classes[large]
        text = (
            f"{most} has {ratio:,.0f} times as many training images as {least} ({train[large]:,} and "
            f"{train[small]:,}); train with --balance weights, and look at macro-averaged numbers"
        )
        severity: Severity = "warning" if ratio >= VERY_UNEQUAL else "note"
        yield _about(checked, "imbalance", severity, [most, least], "train", text)


def _named(checked: Checked, chosen: NDArray[np.bool_]) -> list[str]:
    return [checked.survey.classes[place] for place in np.flatnonzero(chosen)]


def _about(
    checked: Checked, kind: str, severity: Severity, classes: list[str], split: SplitName | None, message: str
) -> Finding:
    """A finding about classes; its paths are their folders, in one split or in all."""
    folders = [checked.survey.folders.get(name, {}) for name in classes]
    paths = tuple(path for where in folders for name, path in where.items() if split in (None, name))
    return Finding(kind, severity, paths, message, classes=tuple(classes))
