from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_comparison import make_comparison, make_enough, make_history, write_comparison

from featherlight.report.compare_page import training_charts, write_compare_page
from featherlight.report.enough_section import enough_facts

HOSTILE = ("<script>alert(1)</script>", "\"' onerror=alert(1) x='", "{{ 7 * 7 }}", "猫 </style>")


class _Attributes(HTMLParser):
    """All attributes of a page, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.update(name for name, _ in attrs)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_comparison(tmp_path_factory.mktemp("c") / "compare.html", make_comparison(("a", "b", "c"))).read_text()


def test_page_has_the_sentence_the_pairs_and_the_pictures(page: str) -> None:
    comparison = make_comparison(("a", "b", "c"))
    assert comparison.sentence in page
    assert page.count('class="gap') == 3
    assert page.count("data:image/jpeg") == 12
    assert "12 are shown; compare.json lists all" in page
    assert "p is corrected for 3 pairs by Holm" in page
    assert "://" not in page


def test_best_figure_of_each_column_stands_out_once(page: str) -> None:
    models = page[page.index('id="models"') : page.index('id="pairs"')]
    best = re.findall(r'class="number best" data-v="([^"]+)"', models)
    comparison = make_comparison(("a", "b", "c"))
    expected = [comparison.models[2].accuracy, 0.0, 1_400_000, 1.0]  # all have the same NLL, parameters and MACs
    assert sorted(float(value) for value in best) == pytest.approx(sorted(expected))


def test_names_from_files_are_only_text(tmp_path: Path) -> None:
    comparison = replace(make_comparison(HOSTILE, HOSTILE), data=HOSTILE[0], notes=HOSTILE)
    text = write_comparison(tmp_path / "compare.html", comparison).read_text()
    assert text.count("<script>") == 1
    found = _Attributes()
    found.feed(text)
    assert "onerror" not in found.names
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0]
    assert text.count("</style>") == 1


def test_what_was_not_measured_has_no_column(tmp_path: Path) -> None:
    comparison = make_comparison(("a", "b"))
    models = tuple(replace(model, latency_ms=None, macs=None, params=None) for model in comparison.models)
    path = tmp_path / "compare.html"
    write_compare_page(path, replace(comparison, models=models, disagreements=()), {}, [], "again")
    text = path.read_text()
    assert '<button type="button">Latency' not in text
    assert '<button type="button">MACs' not in text
    assert 'id="different"' not in text
    assert 'class="chart' not in text


def test_image_that_has_gone_leaves_its_answers(tmp_path: Path) -> None:
    comparison = make_comparison(("a", "b"))
    write_compare_page(tmp_path / "c.html", comparison, {}, [(comparison.disagreements[0], None)], "again")
    text = (tmp_path / "c.html").read_text()
    assert "data:image/jpeg" not in text
    assert text.count("<figcaption>") == 1


def test_curves_are_over_epochs_and_over_minutes() -> None:
    models = make_comparison(("a", "b")).models
    charts = training_charts(models, {"a": make_history(4)})
    assert [chart.lines[0].x for chart in charts] == [[1, 2, 3, 4], [0.5, 1, 1.5, 2], [1, 2, 3, 4]]
    assert [line.name for line in charts[0].lines] == ["a", "b"]
    assert training_charts(models, {"a": []}) == []


def test_rows_that_lack_a_figure_leave_a_gap() -> None:
    models = make_comparison(("a", "b")).models
    (chart, *_) = training_charts(models, {"a": [{"epoch": 1, "val_top1": None}, {"epoch": 2, "val_top1": 0.5}]})
    assert [str(value) for value in chart.lines[0].y] == ["nan", "0.5"]


def test_learning_curves_are_drawn_with_their_forecast() -> None:
    facts = enough_facts(make_enough())
    drawn = str(facts["learning_curves"])
    assert drawn.count("line forecast") == 2
    assert drawn.count("whisker") == 8
    assert enough_facts(None) == {"enough": None}
