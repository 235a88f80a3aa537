"""How sizes, shapes, light and ways of storing are spread over the images, as bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featherlight.report.bars import Bar, bars_svg
from featherlight.report.texts import Texts, texts
from featherlight.sources.facts import Facts

_SIDES = [8, *(step * 2**power for power in range(4, 24) for step in (1, 1.5))]  # 8, 16, 24, 32, 48, 64, 96, ...
_ASPECTS = (("1:4", 0.25), ("1:3", 1 / 3), ("1:2", 0.5), ("2:3", 2 / 3), ("3:4", 0.75), ("1:1", 1.0), ("4:3", 4 / 3),
            ("3:2", 1.5), ("2:1", 2.0), ("3:1", 3.0), ("4:1", 4.0))  # fmt: skip
_LEVELS = 16
_CATEGORIES = 8


def distributions_svg(facts: Facts, say: Texts | None = None) -> str:
    """Figures of what is known about the readable images, by default in English; "" if there are none."""
    say = say or texts()
    readable = np.flatnonzero(facts.readable)
    if not len(readable):
        return ""
    sizes, tones = facts.sizes[readable], facts.tones[readable]
    modes, formats = ([column[place] for place in readable] for column in (facts.modes, facts.formats))
    return "\n".join(
        (
            bars_svg(say("Shorter side"), _sides(sizes.min(axis=1), say), say("pixels")),
            bars_svg(say("Width to height"), _aspects(sizes, say)),
            bars_svg(say("Brightness"), _levels(tones[:, 0], 256, say), say("mean grey level, 0 is black")),
            bars_svg(say("Contrast"), _levels(tones[:, 1], 128, say), say("standard deviation of grey levels")),
            bars_svg(say("Stored as"), _categories(modes, say)),
            bars_svg(say("File format"), _categories(formats, say)) if any(formats) else "",
        )
    )


def _sides(sides: NDArray[np.int32], say: Texts) -> list[Bar]:
    edges = np.array([0, *_SIDES])
    place = np.searchsorted(edges, sides, side="right") - 1
    counts = np.bincount(place, minlength=len(edges))
    used = range(int(place.min()), int(place.max()) + 1)
    ends = [(f"{edges[k]:.0f}", f"{edges[k + 1] - 1:.0f} px") for k in used]
    return [
        Bar(low, int(counts[k]), say("{low} to {high}", low=low, high=high))
        for k, (low, high) in zip(used, ends, strict=True)
    ]


def _aspects(sizes: NDArray[np.int32], say: Texts) -> list[Bar]:
    logs = np.log(sizes[:, 1] / sizes[:, 0])
    marks = np.array([math.log(value) for _, value in _ASPECTS])
    place = np.searchsorted((marks[:-1] + marks[1:]) / 2, logs)
    counts = np.bincount(place, minlength=len(marks))
    used = range(int(place.min()), int(place.max()) + 1)
    return [Bar(_ASPECTS[k][0], int(counts[k]), _about(k, say)) for k in used]


def _about(place: int, say: Texts) -> str:
    ratio = _ASPECTS[place][0]
    if place in (0, len(_ASPECTS) - 1):
        return say("about {ratio} or beyond", ratio=ratio)
    return say("about {ratio}", ratio=ratio)


def _levels(values: NDArray[np.float32], end: int, say: Texts) -> list[Bar]:
    step = end // _LEVELS
    counts = np.bincount(np.clip(values // step, 0, _LEVELS - 1).astype(int), minlength=_LEVELS)
    return [
        Bar(f"{k * step}", int(n), say("{low} to {high}", low=k * step, high=(k + 1) * step - 1))
        for k, n in enumerate(counts)
    ]


def _categories(values: Sequence[str], say: Texts) -> list[Bar]:
    common = Counter(values).most_common()
    bars = [Bar(name or say("array"), number) for name, number in common[:_CATEGORIES]]
    rest = sum(number for _, number in common[_CATEGORIES:])
    return [*bars, Bar(say("others"), rest)] if rest else bars
