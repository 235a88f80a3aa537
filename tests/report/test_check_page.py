from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.report import write_check_page
from featherlight.sources.arrays import array_split
from featherlight.sources.findings import (
    KINDS,
    Checked,
    Finding,
    Findings,
    Severity,
    Suggestion,
    Survey,
    order_findings,
)
from featherlight.sources.findings.survey import look_at

VOID = {"meta", "link", "img", "path"}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"' onerror=alert(1) x='",
    "new\nline & 猫 \u202e \udcff",
    "{{ 7 * 7 }}",
    "</style>",
]


@pytest.fixture(scope="module")
def checked() -> Checked:
    rng = np.random.default_rng(0)
    images = array_split(
        rng.integers(0, 256, (40, 96, 96, 3), np.uint8), np.arange(40) % 2, [f"data/a/{k}.png" for k in range(40)]
    )
    survey = Survey("my data", ("a", "b"), images, np.zeros(40, np.int64), np.arange(40) % 2)
    facts, splits, duplicates = look_at(survey)
    return Checked(survey, facts, splits, duplicates, 32)


@pytest.fixture
def page(checked: Checked, tmp_path: Path) -> Callable[..., str]:
    def write(*found: Finding, classes: dict[str, dict[str, int]] | None = None, **changes: object) -> str:
        counts = classes or {"a": {"train": 20, "val": 5}, "b": {"train": 10, "val": 5}}
        findings = Findings("my data", 40, counts, 32, order_findings(found))
        write_check_page(tmp_path / "check.html", findings, replace(checked, **changes))
        return (tmp_path / "check.html").read_text(encoding="utf-8")

    return write


def pair(kind: str = "leak", severity: Severity = "error", *positions: int) -> Finding:
    places = positions or (0, 1)
    return Finding(kind, severity, tuple(f"data/a/{k}.png" for k in places), "the same", places)


def texts(html: str, tag: str) -> list[str]:
    bodies = re.findall(rf"<{tag}[ >].*?</{tag}>", html, re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", body).split()) for body in bodies]


def test_headline_counts_what_was_found(page) -> None:
    html = page(pair(), pair("duplicate", "warning"), pair("near_duplicate", "note"))
    assert '<p class="big">1 error</p>' in html
    assert "1 warning, 1 note" in html
    assert '<p class="big">Nothing found</p>' in page()


def test_cards_come_by_harm_and_links_lead_to_them(page) -> None:
    html = page(pair("near_duplicate", "note"), pair("leak", "warning"), pair("label_conflict"), pair())
    headings = re.findall(r'<h2 id="((?:error|warning|note)-\w+)"', html)
    assert headings == ["error-leak", "error-label_conflict", "warning-leak", "note-near_duplicate"]
    assert re.findall(r'href="#([\w-]+)"', html) == headings


def test_pictures_of_a_pair_stand_side_by_side(page, checked: Checked) -> None:
    html = page(pair("leak", "error", 3, 8))
    article = re.search(r"<article>.*?</article>", html, re.S)[0]
    sources = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"', article)
    assert [alt for _, alt in sources] == ["b · val", "a · train"]
    for (source, _), position in zip(sources, (3, 8), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
            assert picture.size == (96, 96)
            shown = np.asarray(picture, float).ravel()
        assert np.corrcoef(shown, checked.survey.images.read(position).ravel())[0, 1] > 0.5  # noise, as JPEG


def test_label_error_says_both_labels(page) -> None:
    finding = replace(pair("label_error", "warning", 4), suggestion=Suggestion("cat", "dog", 0.874))
    assert "Labelled cat , looks like dog 87.4%" in texts(page(finding), "p")


def test_files_without_pictures_are_listed_with_their_message(page) -> None:
    html = page(Finding("unreadable", "error", ("data/x.png",), "cannot be read: truncated"))
    assert "data/x.png cannot be read: truncated" in texts(html, "p")
    assert "<img" not in html


def test_page_loads_nothing_from_elsewhere(page) -> None:
    html = page(pair(), pair("duplicate", "warning", 5, 6, 7))
    references = re.findall(r'(?:src|href|srcset|action|data)="([^"]*)"', html)
    assert references
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert "://" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_hostile_names_are_text_and_nothing_else(page) -> None:
    def found(names: list[str]) -> list[Finding]:
        return [Finding("unreadable", "error", (name,), name) for name in names] + [
            Finding("missing_class", "error", (names[0], names[1]), names[2]),
            replace(
                pair("label_error", "warning", 1), suggestion=Suggestion(names[0], names[4], 0.5), paths=(names[3],)
            ),
        ]

    plain = page(*found(list("vwxyz")))
    html = page(*found(HOSTILE), classes={name: {"train": 1} for name in HOSTILE})
    tags = re.findall(r"<(/?[a-z][a-z0-9]*)", html)
    rows = tags.count("tr")
    assert tags.count("script") == re.findall(r"<(/?[a-z][a-z0-9]*)", plain).count("script") == 1
    assert tags.count("img") == 1
    assert rows == 6
    assert "49" not in texts(html, "th")
    assert "onerror=alert(1) x='\"" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "new\nline &amp; 猫" in html


def test_page_is_accessible(page) -> None:
    html = page(pair(), Finding("unreadable", "error", ("x",), "cannot be read"))
    assert '<html lang="en">' in html
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels == [1, *[2] * (len(levels) - 1)]
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', html)) <= set(ids)
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]+>", html))
    assert all("aria-label=" in tag or "aria-hidden=" in tag for tag in re.findall(r"<svg[^>]+>", html))
    assert 'aria-label="error: 1 leak"' in html


def test_elements_are_closed(page) -> None:
    html = page(pair(), pair("duplicate", "warning", 5, 6, 7), Finding("ignored", "note", ("a", "b"), "not looked at"))
    body = re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.S)
    opened: list[str] = []
    for closing, tag, selfclosed in re.findall(r"<(/?)([a-z][a-z0-9]*)[^>]*?(/?)>", body):
        if closing:
            assert opened.pop() == tag
        elif tag not in VOID and not selfclosed:
            opened.append(tag)
    assert opened == []


def test_half_a_million_findings_stay_a_small_page(page) -> None:
    kinds: list[tuple[str, Severity]] = [
        (kind, severity) for kind in KINDS for severity in ("error", "warning", "note")
    ]
    noisy = [pair(kind, severity, *range(40)) for kind, severity in kinds for _ in range(100)]
    many = [Finding("unreadable", "error", (f"{'folder/' * 40}{k}.png",), "x" * 500) for k in range(500_000)]
    html = page(*noisy, *many)
    assert len(html.encode()) < 5_000_000
    assert html.count("<img") > 300
    assert "more are not shown here; check.json has all" in html


def test_every_card_gets_its_share_of_pictures(page) -> None:
    found = [pair(kind, "warning", *range(24)) for kind in KINDS for _ in range(24)]
    html = page(*found)
    cards = re.findall(r'<section class="card warning".*?</section>', html, re.S)
    assert len(cards) == len(KINDS) - 4  # those that say more of an unreadable file are not told again
    assert all(card.count("<img") >= 8 for card in cards)


def test_ten_thousand_classes_list_the_smallest(page) -> None:
    html = page(classes={f"class {k}": {"train": k} for k in range(10_000)})
    rows = re.findall(r'<th scope="row"[^>]*>class (\d+)<', html)
    assert sorted(map(int, rows)) == list(range(1000))
    assert "The 1,000 classes with the fewest images are listed" in html
    assert len(html.encode()) < 1_000_000


def test_images_that_have_gone_since_are_left_out(page, checked: Checked, tmp_path: Path) -> None:
    from featherlight.sources.base import Split
    from featherlight.sources.files import FileReader

    folder = tmp_path / "images"
    folder.mkdir()
    paths = tuple(str(folder / f"{k}.png") for k in range(2))
    for k, path in enumerate(paths):
        Image.fromarray(checked.survey.images.read(k)).save(path)
    survey = Survey(
        "x", ("a", "b"), Split(np.array([0, 1]), paths, FileReader(paths)), np.zeros(2, np.int64), np.zeros(2, np.int64)
    )
    facts, splits, duplicates = look_at(survey)
    shutil.rmtree(folder)
    html = page(pair(), survey=survey, facts=facts, splits=splits, duplicates=duplicates)
    assert "<img" not in html
    assert "data/a/0.png" in html
