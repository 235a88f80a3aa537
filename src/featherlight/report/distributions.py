"""How sizes, shapes, light and ways of storing are spread over the images, as bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featherlight.report.bars import Bar, bars_svg
from featherlight.sources.facts import Facts

_SIDES = [8, *(step * 2**power for power in range(4, 24) for step in (1, 1.5))]  # 8, 16, 24, 32, 48, 64, 96, ...
_ASPECTS = (("1:4", 0.25), ("1:3", 1 / 3), ("1:2", 0.5), ("2:3", 2 / 3), ("3:4", 0.75), ("1:1", 1.0), ("4:3", 4 / 3),
            ("3:2", 1.5), ("2:1", 2.0), ("3:1", 3.0), ("4:1", 4.0))  # fmt: skip
_LEVELS = 16
_CATEGORIES = 8


def distributions_svg(facts: Facts) -> str:
    """Figures of what is known about the readable images; "" if there are none."""
    readable = np.flatnonzero(facts.readable)
    if not len(readable):
        return ""
    sizes, tones = facts.sizes[readable], facts.tones[readable]
    modes, formats = ([column[place] for place in readable] for column in (facts.modes, facts.formats))
    return "\n".join(
        (
            bars_svg("Shorter side", _sides(sizes.min(axis=1)), "pixels"),
            bars_svg("Width to height", _aspects(sizes)),
            bars_svg("Brightness", _levels(tones[:, 0], 256), "mean grey level, 0 is black"),
            bars_svg("Contrast", _levels(tones[:, 1], 128), "standard deviation of grey levels"),
            bars_svg("Stored as", _categories(modes)),
            bars_svg("File format", _categories(formats)) if any(formats) else "",
        )
    )


def _sides(sides: NDArray[np.int32]) -> list[Bar]:
    edges = np.array([0, *_SIDES])
    place = np.searchsorted(edges, sides, side="right") - 1
    counts = np.bincount(place, minlength=len(edges))
    used = range(int(place.min()), int(place.max()) + 1)
    return [Bar(f"{edges[k]:.0f}", int(counts[k]), f"{edges[k]:.0f} to {edges[k + 1] - 1:.0f} px") for k in used]


def _aspects(sizes: NDArray[np.int32]) -> list[Bar]:
    logs = np.log(sizes[:, 1] / sizes[:, 0])
    marks = np.array([math.log(value) for _, value in _ASPECTS])
    place = np.searchsorted((marks[:-1] + marks[1:]) / 2, logs)
    counts = np.bincount(place, minlength=len(marks))
    used = range(int(place.min()), int(place.max()) + 1)
    return [Bar(_ASPECTS[k][0], int(counts[k]), f"about {_ASPECTS[k][0]}{_beyond(k)}") for k in used]


def _beyond(place: int) -> str:
    return " or beyond" if place in (0, len(_ASPECTS) - 1) else ""


def _levels(values: NDArray[np.float32], end: int) -> list[Bar]:
    step = end // _LEVELS
    counts = np.bincount(np.clip(values // step, 0, _LEVELS - 1).astype(int), minlength=_LEVELS)
    return [Bar(f"{k * step}", int(n), f"{k * step} to {(k + 1) * step - 1}") for k, n in enumerate(counts)]


def _categories(values: Sequence[str]) -> list[Bar]:
    common = Counter(values).most_common()
    bars = [Bar(name or "array", number) for name, number in common[:_CATEGORIES]]
    rest = sum(number for _, number in common[_CATEGORIES:])
    return [*bars, Bar("others", rest)] if rest else bars
