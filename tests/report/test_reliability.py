from __future__ import annotations

import re

import numpy as np

from featherlight.metrics.calibration import reliability
from featherlight.report.facts import bins_table
from featherlight.report.reliability import reliability_svg
from featherlight.report.texts import texts


def field(temperature: float) -> dict[str, object]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    return reliability(4.0 * np.eye(4)[labels] + rng.normal(0, 2, (400, 4)), labels, temperature)


def test_columns_are_as_high_as_the_accuracy_and_stand_where_the_probability_is() -> None:
    found = field(1.5)
    diagram = reliability_svg(found, texts()).partition("</figure>")[0]
    columns = re.findall(
        r'<rect class="column [^"]*" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', diagram
    )
    filled = [entry for entry in found["bins"] if entry["count"]]
    assert len(columns) == len(filled)
    for (x, y, height), entry in zip(columns, filled, strict=True):
        assert float(y) + float(height) == 266 or entry["accuracy"] == 0
        np.testing.assert_allclose((266 - float(y)) / 256, entry["accuracy"], atol=1e-3)
        np.testing.assert_allclose((float(x) - 45) / 286, entry["low"], atol=1e-3)


def test_what_was_before_is_drawn_only_if_it_was_otherwise() -> None:
    assert 'class="line train"' in reliability_svg(field(1.5), texts())
    assert 'class="line train"' not in reliability_svg(field(1.0), texts())


def test_columns_of_few_images_are_faint() -> None:
    found = field(1.5)
    few = sum(0 < entry["count"] < 10 for entry in found["bins"])
    assert few >= 1
    assert reliability_svg(found, texts()).count('"column pale few"') == few


def test_table_has_every_number_of_the_diagram() -> None:
    found = field(1.5)
    table = bins_table(found, texts())
    assert len(table.columns) == len(table.rows[0]) == 7
    assert [row[1] for row in table.rows] == [str(entry["count"]) for entry in found["bins"]]
    assert [row[4] for row in table.rows] == [str(entry["count"]) for entry in found["bins_before"]]
    empty = next(k for k, entry in enumerate(found["bins"]) if not entry["count"])
    assert table.rows[empty][2:4] == ["–", "–"]
