"""Findings about properties that give the class away: a network may learn them instead of what images show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from featherlight.phrases import phrase
from featherlight.sources.findings.base import Finding
from featherlight.sources.findings.checked import NOWHERE, Checked

LEAST_IMAGES = 50
GIVEN_AWAY = 0.5  # of what guessing the largest class leaves open
_WORDS = {str(word): word for word in map(phrase, ("grey", "colour", "landscape", "portrait", "square"))}
_GREY = ("1", "L", "I", "F", "LA")


def find_shortcuts(checked: Checked) -> Iterator[Finding]:
    """Format, colour, size and shape, where one of them alone tells the class of many images."""
    used = np.flatnonzero((checked.survey.images.labels != NOWHERE) & checked.facts.readable)
    if len(used) < LEAST_IMAGES:
        return
    labels = checked.survey.images.labels[used]
    for what, values in _properties(checked, used):
        kinds, number = np.unique(np.array(values), return_inverse=True)
        if not 1 < len(kinds) <= len(used) / 10:
            continue
        table = np.zeros((len(kinds), len(checked.survey.classes)), np.int64)
        np.add.at(table, (number, labels), 1)
        told, guessed = table.max(axis=1).sum() / len(used), table.sum(axis=0).max() / len(used)
        if told - guessed >= GIVEN_AWAY * (1 - guessed) > 0:
            purest = int(np.argmax(table.max(axis=1)))
            text = phrase(
                "{what} alone tells the class of {share} of the images (most of {kind} are {name}); a network may "
                "learn that instead of what the images show",
                what=what, share=f"{told:.0%}", kind=_named(str(kinds[purest])),
                name=checked.survey.classes[int(np.argmax(table[purest]))],
            )  # fmt: skip
            yield Finding("shortcut", "warning", (checked.survey.name,), text)


def _named(kind: str) -> str:
    """A value of a property; those that are words can be said in other languages."""
    return _WORDS.get(kind, kind)


def _properties(checked: Checked, used: NDArray[np.int64]) -> Iterator[tuple[str, Sequence[str]]]:
    facts = checked.facts
    yield phrase("the file format"), [facts.formats[place] for place in used]
    yield (
        phrase("whether images are grey"),
        ["grey" if facts.modes[place].startswith(_GREY) else "colour" for place in used],
    )
    heights, widths = facts.sizes[used].T
    octaves = np.floor(np.log2(np.maximum(np.minimum(heights, widths), 1))).astype(int)
    yield phrase("the size"), [f"{2**octave} to {2 ** (octave + 1) - 1} px" for octave in octaves]
    shape = np.where(widths > heights * 1.1, "landscape", np.where(heights > widths * 1.1, "portrait", "square"))
    yield phrase("the shape"), shape.tolist()
