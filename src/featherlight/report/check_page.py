"""The page of a check: findings by harm, with pictures, then classes and distributions; it loads nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from featherlight.errors import UnreadableImageError
from featherlight.phrases import counted, joined, phrase
from featherlight.report.distributions import distributions_svg
from featherlight.report.enough_section import enough_facts
from featherlight.report.rendering import THUMBNAIL_SIZE, load_template, tail, thumbnail, write_page
from featherlight.report.texts import Texts, texts
from featherlight.sources.facts import count_cores
from featherlight.sources.findings import KINDS, Checked, Finding, Findings, Severity
from featherlight.sources.findings.checked import NOWHERE, SPLITS

MAX_PICTURED = 36  # findings with pictures in a card
MAX_LISTED = 100  # findings without
MAX_PICTURES = 144  # in a card
MAX_BESIDE = 24  # pictures of one finding
MAX_PATHS = 8  # of a finding without pictures
MAX_CLASSES = 1000
MAX_TEXT = 300  # letters of a path or message
PICTURE_BYTES = 3_000_000  # of all pictures together: the page stays under 5 MB
_QUALITY = 80


@dataclass(frozen=True)
class _Picture:
    source: str
    path: str
    name: str  # its last part, with the folder unless that is the class
    where: str  # class and split


@dataclass(frozen=True)
class _Shown:
    """A finding as the page shows it."""

    finding: Finding
    message: str
    paths: list[str]
    pictures: list[_Picture]
    not_shown: int  # pictures


@dataclass(frozen=True)
class _Card:
    """All findings of one kind and severity."""

    id: str
    title: str
    name: str  # shorter
    severity: Severity
    count: int
    shown: list[_Shown]


def write_check_page(path: Path, findings: Findings, checked: Checked, lang: str = "en") -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        findings: by harm.
        checked: what they were found in; images to show are read once more.
        lang: language of the page: ``en`` or ``zh``.

    Raises:
        UsageError: no such language.
    """
    say = texts(lang)
    splits = findings.split_counts()
    page = load_template("check.html", lang).render(
        findings=findings,
        verdict=_verdict(findings, say),
        splits=splits,
        split_names=[say(split) for split in splits],
        num_unreadable=len(checked.facts.reasons),
        cards=_make_cards(findings.told(), checked, say),
        **_class_table(findings),
        **enough_facts(findings.enough, say),
        distributions=distributions_svg(checked.facts, say),
        command=_command(findings, lang),
    )
    write_page(path, page)


def _command(findings: Findings, lang: str) -> str:
    """That checks again."""
    asked = "" if findings.enough is None else f" --enough --time {findings.enough.budget_s:g}s"
    return f"featherlight check {shlex.quote(findings.data)}{asked}{'' if lang == 'en' else f' --lang {lang}'}"


def _verdict(findings: Findings, say: Texts) -> tuple[str, str]:
    """What there is most of harm, and the rest."""
    numbers: list[tuple[Severity, int]] = [(name, findings.count(name)) for name in ("error", "warning", "note")]
    told: list[str] = [counted(number, name) for name, number in numbers if number]
    first, *rest = told or [phrase("Nothing found")]
    return say.tell(first), say.tell(joined(rest, last=", ")) if rest else ""


def _class_table(findings: Findings) -> dict[str, object]:
    """The classes to list, the largest number of images of any, and how many classes are not listed."""
    rows = [(name, counts, sum(counts.values())) for name, counts in findings.classes.items()]
    largest = max((total for _, _, total in rows), default=0)
    listed = rows if len(rows) <= MAX_CLASSES else sorted(rows, key=lambda row: row[2])[:MAX_CLASSES]
    shown = [(_cut(name), counts, total) for name, counts, total in listed]
    return {"classes": shown, "largest": max(1, largest), "num_classes": len(rows)}


def _make_cards(findings: Sequence[Finding], checked: Checked, say: Texts) -> list[_Card]:
    groups = [(key, list(members)) for key, members in groupby(findings, key=lambda f: (f.severity, f.kind))]
    left, cards = PICTURE_BYTES, list[_Card]()
    for number, ((severity, kind), members) in enumerate(groups):
        shown = _show(members, checked, left // (len(groups) - number), say)
        left -= sum(len(picture.source) for one in shown for picture in one.pictures)
        name = say(kind.replace("_", " "))
        cards.append(_Card(f"{severity}-{kind}", say(KINDS[kind]), name, severity, len(members), shown))
    return cards


def _show(findings: Sequence[Finding], checked: Checked, budget: int, say: Texts) -> list[_Shown]:
    """The first findings, with as many pictures as ``budget`` bytes hold."""
    pictured = any(_is_pictured(finding, checked) for finding in findings[:MAX_PICTURED])
    first = findings[: MAX_PICTURED if pictured else MAX_LISTED]
    beside = min(MAX_BESIDE, max(2, MAX_PICTURES // max(1, len(first))))
    wanted = [list(finding.positions[:beside]) if _is_pictured(finding, checked) else [] for finding in first]
    pictures = _read_pictures(checked, [position for positions in wanted for position in positions])
    shown = []
    for finding, positions in zip(first, wanted, strict=True):
        sources = [
            _picture(checked, position, pictures[position], say) for position in positions if position in pictures
        ]
        size = sum(len(picture.source) for picture in sources)
        sources, budget = (sources, budget - size) if size <= budget else ([], 0)
        shown.append(_shown(finding, sources, say))
    return shown


def _is_pictured(finding: Finding, checked: Checked) -> bool:
    return any(checked.facts.readable[position] for position in finding.positions[:MAX_BESIDE])


def _read_pictures(checked: Checked, positions: Sequence[int]) -> Mapping[int, str]:
    """Position -> thumbnail as a data URL, of those that can (still) be read."""
    wanted = sorted(set(positions))
    with ThreadPoolExecutor(count_cores()) as pool:
        sources = pool.map(partial(_read_picture, checked), wanted)
        return {position: source for position, source in zip(wanted, sources, strict=True) if source}


def _read_picture(checked: Checked, position: int) -> str:
    try:
        return thumbnail(checked.survey.images.read(position, THUMBNAIL_SIZE), _QUALITY)
    except UnreadableImageError:  # it could be read a moment ago; the page can do without it
        return ""


def _picture(checked: Checked, position: int, source: str, say: Texts) -> _Picture:
    path = checked.survey.images.paths[position]
    label = checked.class_of(position)
    splits = checked.survey.sides if checked.survey.sides.any() else checked.splits  # those that were given, if any
    where = [label, "" if splits[position] == NOWHERE else say(SPLITS[splits[position]])]
    name = tail(path).removeprefix(f"{label}/")
    return _Picture(source, _cut(path), _cut(name), " · ".join(_cut(word) for word in where if word))


def _shown(finding: Finding, pictures: list[_Picture], say: Texts) -> _Shown:
    paths = [_cut(path) for path in finding.paths[: 0 if pictures else MAX_PATHS]]
    left = len(finding.paths) - len(pictures or paths)
    return _Shown(finding, _cut(say.tell(finding.message)), paths, pictures, left)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]} … {text[-MAX_TEXT // 2 :]}"
