"""Findings about what images look like, each by itself: size, shape, light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from featherlight.phrases import phrase
from featherlight.sources.findings.base import Finding, Severity
from featherlight.sources.findings.checked import Checked
from featherlight.sources.findings.wording import are, count

ODD_ASPECT = 3.0  # longer to shorter side: the central square that networks see holds a third of the image
ENLARGED_MUCH = 2
ODD_SIZE = 5  # times the usual shorter side
ODD_SHARE = 0.05  # of the images, at most
BLANK_DEVIATION = 2.0  # of grey levels: under it there is nothing but noise
FLAT_DEVIATION = 12.0  # a drawing of thin lines on black is not a dark photo
DARK_HIGH = 40  # grey level that 99 of 100 pixels stay under
BRIGHT_LOW = 230  # and over


def find_small(checked: Checked) -> Iterator[Finding]:
    """Images whose shorter side is below the network's input, so that they are enlarged."""
    size = checked.input_size
    shorter = checked.facts.sizes.min(axis=1)
    much = checked.facts.readable & (shorter * ENLARGED_MUCH < size)
    little = checked.facts.readable & (shorter < size) & ~much
    told: tuple[tuple[NDArray[np.bool_], Severity, str], ...] = (
        (much, "warning", phrase("less than half as large as the network's input, and will be blurred")),
        (little, "note", phrase("a little smaller than the network's input")),
    )
    for chosen, severity, how in told:
        found = _worst_first(np.flatnonzero(chosen), shorter)
        if len(found):
            height, width = checked.facts.sizes[found[0]]
            text = phrase(
                "{images} {are} {how}; the smallest has {pixels} pixels, the input {input}",
                images=count(found, "image"), are=are(found), how=how, pixels=f"{width} x {height}",
                input=f"{size} x {size}",
            )  # fmt: skip
            yield checked.about("too_small", severity, found, text)


def find_odd_sizes(checked: Checked) -> Iterator[Finding]:
    """The few images that are many times as large as most: perhaps originals among images that were prepared."""
    shorter, readable = checked.facts.sizes.min(axis=1), checked.facts.readable
    if not readable.any():
        return
    usual = float(np.median(shorter[readable]))
    found = _worst_first(np.flatnonzero(readable & (shorter >= ODD_SIZE * usual)), -shorter)
    if 0 < len(found) < ODD_SHARE * readable.sum():
        height, width = checked.facts.sizes[found[0]]
        text = phrase(
            "{images} {are} many times as large as most, the largest has {pixels} pixels, half of all have a shorter "
            "side up to {usual}; were they meant to be scaled or cropped?",
            images=count(found, "image"), are=are(found), pixels=f"{width} x {height}", usual=f"{usual:.0f}",
        )  # fmt: skip
        yield checked.about("odd_size", "note", found, text)


def find_odd_shapes(checked: Checked) -> Iterator[Finding]:
    """Images so long or high that a square shows little of them."""
    sizes = np.maximum(checked.facts.sizes, 1)
    aspect = sizes.max(axis=1) / sizes.min(axis=1)
    found = _worst_first(np.flatnonzero(checked.facts.readable & (aspect >= ODD_ASPECT)), -aspect)
    if len(found):
        height, width = checked.facts.sizes[found[0]]
        text = phrase(
            "{images} {are} at least {times} times as long as wide, the longest has {pixels} pixels; a network sees "
            "the central square, or all of it with --set resize=pad",
            images=count(found, "image"), are=are(found), times=f"{ODD_ASPECT:g}", pixels=f"{width} x {height}",
        )  # fmt: skip
        yield checked.about("odd_shape", "warning", found, text)


def _worst_first(found: NDArray[np.int64], values: NDArray[np.generic]) -> NDArray[np.int64]:
    return found[np.argsort(values[found], kind="stable")]


def find_odd_light(checked: Checked) -> Iterator[Finding]:
    """Images that show nothing, or next to nothing because they are nearly black or white."""
    _, deviation, low, high = checked.facts.tones.T
    blank = checked.facts.readable & (deviation < BLANK_DEVIATION)
    flat = checked.facts.readable & ~blank & (deviation < FLAT_DEVIATION)
    for kind, chosen, what in (
        ("blank", blank, phrase("of a single colour")),
        ("dark", flat & (high < DARK_HIGH), phrase("nearly black")),
        ("bright", flat & (low > BRIGHT_LOW), phrase("nearly white")),
    ):
        found = np.flatnonzero(chosen)
        if len(found):
            text = phrase("{images} {are} {what}", images=count(found, "image"), are=are(found), what=what)
            yield checked.about(kind, "warning" if kind == "blank" else "note", found, text)
