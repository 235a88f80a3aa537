"""Findings about classes: absent, too small, unequal; and whether there is anything to tell apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from featherlight.phrases import phrase
from featherlight.sources.base import SplitName
from featherlight.sources.findings.base import Finding, Severity
from featherlight.sources.findings.checked import NOWHERE, SPLITS, Checked
from featherlight.sources.findings.wording import are, count, has, named

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
        text = phrase("only one class has images, {name}, so there is nothing to tell apart", name=present[0])
        yield _about(checked, "layout", "error", present, None, text)
    if not checked.facts.readable.any():
        yield Finding("layout", "error", (checked.survey.name,), phrase("not one image can be read"))
    elif present and checked.survey.fractions and not table[:, SPLITS.index("val")].any():
        images = np.flatnonzero(checked.splits != NOWHERE)
        text = phrase(
            "{images} {are} too few to set some aside for validation; add more",
            images=count(images, "image"), are=are(images),
        )  # fmt: skip
        yield Finding("layout", "error", (checked.survey.name,), text)


def _find_missing(checked: Checked, table: NDArray[np.int64]) -> Iterator[Finding]:
    """Classes without images, and those that a split lacks."""
    everywhere = table.sum(axis=1)
    empty = _named(checked, everywhere == 0)
    if empty:
        text = phrase(
            "{classes} {has} no readable image: {names}",
            classes=count(empty, "class"), has=has(empty), names=named(empty),
        )  # fmt: skip
        yield _about(checked, "missing_class", "error", empty, None, text)
    for split in checked.present_splits():
        lacking = _named(checked, (table[:, SPLITS.index(split)] == 0) & (everywhere > 0))
        if not lacking or not table.any():
            continue
        is_cut = split in checked.survey.fractions
        severity: Severity = "error" if split == "train" else "note" if is_cut else "warning"
        where = phrase("{split} (which training set aside)", split=phrase(split)) if is_cut else phrase(split)
        text = phrase(
            "{classes} without an image in {split}: {names}; {why}",
            classes=count(lacking, "class"), names=named(lacking), split=where,
            why=_why_it_matters(severity, lacking, is_cut=is_cut),
        )  # fmt: skip
        yield _about(checked, "missing_class", severity, lacking, None, text)


def _why_it_matters(severity: Severity, lacking: list[str], *, is_cut: bool) -> str:
    if severity == "warning":
        they_are = "it is" if len(lacking) == 1 else "they are"
        return phrase("how well {they_are} recognised cannot be measured there", they_are=they_are)
    if severity == "note":
        return phrase("chance left it out; more images help")
    return phrase("training refuses; add images or remove the class") if is_cut else phrase("training refuses")


def _find_small(checked: Checked, train: NDArray[np.int64]) -> Iterator[Finding]:
    chosen = (train > 0) & (train < FEW_IMAGES)
    if chosen.any():
        small = _named(checked, chosen)
        text = phrase(
            "{classes} {has} fewer than {few} training images: {names}; the smallest has {least}",
            classes=count(small, "class"), has=has(small), few=FEW_IMAGES, names=named(small),
            least=train[chosen].min(),
        )  # fmt: skip
        yield _about(checked, "small_class", "warning", small, "train", text)


def _find_imbalance(checked: Checked, train: NDArray[np.int64]) -> Iterator[Finding]:
    used = np.flatnonzero(train)
    if len(used) < 2:
        return
    small, large = int(used[np.argmin(train[used])]), int(np.argmax(train))
    ratio = train[large] / train[small]
    if ratio >= UNEQUAL:
        least, most = checked.survey.classes[small], checked.survey.classes[large]
        text = phrase(
            "{most} has {times} times as many training images as {least} ({many} and {few}); train with "
            "--balance weights, and look at macro-averaged numbers",
            most=most, least=least, times=f"{ratio:,.0f}", many=f"{train[large]:,}", few=f"{train[small]:,}",
        )  # fmt: skip
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
