"""Findings about files: what cannot be read and why, what is stored in an unusual way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from featherlight.phrases import phrase
from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import Checked
from featherlight.sources.findings.wording import are, count, has

ODD_SHARE = 0.05  # a way of storing that so few images have may be a mistake
_CONVERTED = ("CMYK", "I", "F", "LAB", "YCbCr", "HSV")  # the conversion to RGB of 8 bits is a choice, not a fact

_KIND_OF_REASON = (  # how the reasons of featherlight.images begin or what they contain
    ("empty file", "empty"),
    ("truncated", "truncated"),
    ("not an image", "not_an_image"),
    ("too large", "bomb"),
)


def find_unreadable(checked: Checked) -> Iterator[Finding]:
    """Files that cannot be read, each by itself; where the reason is clear, once more under a kind of its own."""
    for position, reason in sorted(checked.facts.reasons.items()):
        yield checked.about("unreadable", "error", [position], _told(reason))
        for words, kind in _KIND_OF_REASON:
            if words in reason:
                yield checked.about(kind, "error", [position], phrase(reason))
                break


def find_animated(checked: Checked) -> Iterator[Finding]:
    """Images of which only the first frame counts."""
    found = np.flatnonzero(checked.facts.animated)
    if len(found):
        text = phrase(
            "{images} {has} several frames or pages; only the first counts",
            images=count(found, "image"), has=has(found),
        )  # fmt: skip
        yield checked.about("animated", "warning", found, text)


def find_odd_modes(checked: Checked) -> Iterator[Finding]:
    """Ways of storing pixels that few images have, or whose conversion to RGB is a matter of taste."""
    modes = Counter(mode for mode in checked.facts.modes if mode)
    usual, _ = modes.most_common(1)[0] if modes else ("", 0)
    for mode, number in sorted(modes.items()):
        is_rare = mode != usual and number < ODD_SHARE * sum(modes.values())
        if is_rare or mode.startswith(_CONVERTED):
            found = [position for position, other in enumerate(checked.facts.modes) if other == mode]
            stored = phrase("{mode}, most others as {usual}", mode=mode, usual=usual) if mode != usual else mode
            text = phrase(
                "{images} {are} stored as {mode}; all become RGB of 8 bits",
                images=count(found, "image"), are=are(found), mode=stored,
            )  # fmt: skip
            yield checked.about("odd_mode", "note", found, text)


def _told(reason: str) -> str:
    return phrase("cannot be read: {reason}; training leaves it out", reason=phrase(reason))
