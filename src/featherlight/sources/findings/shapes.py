"""Findings about what images look like, each by itself: size, shape, light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import Checked
from featherlight.sources.findings.wording import are, count

ODD_ASPECT = 3.0  # longer to shorter side: the central square that networks see holds a third of the image
ENLARGED_MUCH = 2.0
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
    for found, severity in ((np.flatnonzero(much), "warning"), (np.flatnonzero(little), "note")):
        if len(found):
            smallest = int(found[np.argmin(shorter[found])])
            height, width = checked.facts.sizes[smallest]
            how = "is enlarged more than twice and will be blurred" if severity == "warning" else "is enlarged a little"
            text = (
                f"{count(found, 'image')} {are(found)} smaller than the network's input of {size} x {size} pixels and "
                f"{how if len(found) == 1 else how.replace('is ', 'are ', 1)}; the smallest has {width} x {height}"
            )
            yield checked.about("too_small", "warning" if severity == "warning" else "note", found, text)


def find_odd_shapes(checked: Checked) -> Iterator[Finding]:
    """Images so long or high that a square shows little of them."""
    sizes = np.maximum(checked.facts.sizes, 1)
    aspect = sizes.max(axis=1) / sizes.min(axis=1)
    found = np.flatnonzero(checked.facts.readable & (aspect >= ODD_ASPECT))
    if len(found):
        worst = int(found[np.argmax(aspect[found])])
        height, width = checked.facts.sizes[worst]
        text = (
            f"{count(found, 'image')} {are(found)} at least {ODD_ASPECT:g} times as long as wide, the worst has "
            f"{width} x {height} pixels; a network sees the central square, all of it with --set resize=pad"
        )
        yield checked.about("odd_shape", "warning", found, text)


def find_odd_light(checked: Checked) -> Iterator[Finding]:
    """Images that show nothing, or next to nothing because they are nearly black or white."""
    _, deviation, low, high = checked.facts.tones.T
    blank = checked.facts.readable & (deviation < BLANK_DEVIATION)
    flat = checked.facts.readable & ~blank & (deviation < FLAT_DEVIATION)
    for kind, chosen, what in (
        ("blank", blank, "of a single colour"),
        ("dark", flat & (high < DARK_HIGH), "nearly black"),
        ("bright", flat & (low > BRIGHT_LOW), "nearly white"),
    ):
        found = np.flatnonzero(chosen)
        if len(found):
            text = f"{count(found, 'image')} {are(found)} {what}"
            yield checked.about(kind, "warning" if kind == "blank" else "note", found, text)
