"""Findings: what is wrong with images, classes and splits, told before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from featherlight.sources.findings.base import (
    KINDS,
    SEVERITIES,
    Finding,
    Findings,
    Severity,
    Suggestion,
    order_findings,
)
from featherlight.sources.findings.checked import Checked, Survey
from featherlight.sources.findings.classes import find_class_problems
from featherlight.sources.findings.copies import find_exact_copies, find_near_copies, find_torn_groups
from featherlight.sources.findings.enough import Enough
from featherlight.sources.findings.files import find_animated, find_odd_modes, find_unreadable
from featherlight.sources.findings.groups import find_groups
from featherlight.sources.findings.shapes import find_odd_light, find_odd_shapes, find_odd_sizes, find_small
from featherlight.sources.findings.shortcuts import find_shortcuts

__all__ = [
    "KINDS",
    "SEVERITIES",
    "Checked",
    "Enough",
    "Finding",
    "Findings",
    "Severity",
    "Suggestion",
    "Survey",
    "find_all",
    "order_findings",
]

_FINDERS: tuple[Callable[[Checked], Iterator[Finding]], ...] = (
    find_unreadable,
    find_exact_copies,
    find_near_copies,
    find_torn_groups,
    find_class_problems,
    find_groups,
    find_shortcuts,
    find_odd_light,
    find_odd_shapes,
    find_small,
    find_odd_sizes,
    find_animated,
    find_odd_modes,
)


def find_all(checked: Checked) -> Iterator[Finding]:
    """Everything that can be told without training, in no particular order."""
    yield from checked.survey.findings
    for find in _FINDERS:
        yield from find(checked)
