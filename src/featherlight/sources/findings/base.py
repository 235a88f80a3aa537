"""What a finding is, which kinds there are, and the order in which a person should read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featherlight.sources.base import SplitName
from featherlight.sources.findings.enough import Enough

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

KINDS: dict[str, str] = {  # by harm: what makes training impossible or its numbers wrong, what costs accuracy, the rest
    "layout": "Folders that training refuses or passes over",
    "missing_class": "Classes without images in a split",
    "leak": "The same or nearly the same image in train and in what measures",
    "label_conflict": "The same or nearly the same image in two classes",
    "unreadable": "Files that cannot be read",
    "truncated": "Files that end too early",
    "empty": "Files without a single byte",
    "not_an_image": "Files named like images that are none",
    "bomb": "Images too large to be decoded",
    "label_error": "Images whose label is probably wrong",
    "small_class": "Classes with few training images",
    "imbalance": "Classes much larger than others",
    "shortcut": "Properties that give the class away",
    "group": "Names that tell which images belong together",
    "duplicate": "The same image more than once",
    "blank": "Images that show nothing",
    "odd_shape": "Very long or very high images",
    "too_small": "Images smaller than the network's input",
    "animated": "Images of several frames",
    "ignored": "Files that are not looked at",
    "dark": "Very dark images",
    "bright": "Very bright images",
    "odd_size": "Images much larger than most",
    "odd_mode": "Images stored in another way than most",
    "near_duplicate": "Images that look nearly the same",
}
REPEATED = frozenset({"truncated", "empty", "not_an_image", "bomb"})  # say more of a file that is also unreadable
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a network that never saw the image takes it for.

    Attributes:
        label: the class that the data gives.
        suggested: the class that the network gives.
        probability: the network's, of ``suggested``.
    """

    label: str
    suggested: str
    probability: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person may want to change or know.

    Attributes:
        kind: one of ``KINDS``.
        severity: ``error``: training refuses, leaves images out, or its numbers would be wrong; ``warning``: it
            probably costs accuracy or makes numbers less certain; ``note``: good to know.
        paths: the files or folders it is about, as the person named them.
        message: what it is and what to do, in one sentence or two.
        positions: places of the images in the survey, in the order of ``paths``; empty where it is about no image.
        classes: the classes it is about, where it is about classes.
        suggestion: of a label error.
        harm: how bad it is among its kind; the largest come first.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    positions: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    suggestion: Suggestion | None = None
    harm: float = 0.0

    def to_row(self) -> dict[str, Any]:
        """The finding as it stands in ``check.json``."""
        row: dict[str, Any] = {
            "kind": self.kind,
            "severity": self.severity,
            "paths": list(self.paths),
            "message": self.message,
        }
        if self.classes:
            row["classes"] = list(self.classes)
        if self.suggestion is not None:
            row["label"], row["suggested"] = self.suggestion.label, self.suggestion.suggested
            row["probability"] = self.suggestion.probability
        return row


def order_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By harm: severity, kind, how bad among its kind; the order they came in plays no part."""
    return tuple(sorted(findings, key=_harm))


def _harm(finding: Finding) -> tuple[object, ...]:
    rank = (SEVERITIES.index(finding.severity), _RANK[finding.kind], -finding.harm)
    return (*rank, finding.paths, finding.message, finding.classes, str(finding.suggestion))


@dataclass(frozen=True)
class Findings:
    """The result of a check.

    Attributes:
        data: what was checked, as the person named it.
        num_images: images found, whether they can be read or not.
        classes: readable images by class and split; where the data has no splits of its own, those that training
            would cut.
        input_size: side of the network's input that sizes were compared with, pixels.
        findings: by harm, the worst first.
        enough: whether more photos, a bigger network or cleaner labels would bring most; None: not asked.
    """

    data: str
    num_images: int
    classes: Mapping[str, Mapping[SplitName, int]]
    input_size: int
    findings: tuple[Finding, ...]
    enough: Enough | None = None

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def told(self) -> list[Finding]:
        """What to tell a person, who need not hear of an unreadable file twice."""
        return [finding for finding in self.findings if finding.kind not in REPEATED]

    def count(self, severity: Severity) -> int:
        """How many things of this severity there are to tell."""
        return sum(finding.severity == severity for finding in self.told())

    def split_counts(self) -> dict[SplitName, int]:
        """Readable images by split, over all classes."""
        rows = list(self.classes.values())
        return {split: sum(row[split] for row in rows) for split in (rows[0] if rows else ())}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in ``check.json``."""
        return {**self._head(), "findings": [finding.to_row() for finding in self.findings]}

    def json_parts(self) -> Iterator[str]:
        """``check.json`` piece by piece, since there may be hundreds of thousands of findings; a finding a line."""
        yield json.dumps(self._head(), indent=2)[:-2] + ',\n  "findings": ['
        for number, finding in enumerate(self.findings):
            yield f"{',' if number else ''}\n    {json.dumps(finding.to_row())}"
        yield "\n  ]\n}\n" if self.findings else "]\n}\n"

    def _head(self) -> dict[str, Any]:
        classes = {name: dict(counts) for name, counts in self.classes.items()}
        asked = {} if self.enough is None else {"enough": self.enough.to_dict()}
        return {
            "data": self.data,
            "num_images": self.num_images,
            "input_size": self.input_size,
            "classes": classes,
            **asked,
        }
