from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherlight.report.export_page import ExportFacts, Pictured, write_export_page
from featherlight.verification import compare_outputs

FACTS = ExportFacts("<b>m</b>.safetensors", "onnx", "image", 1_450_000, 1_500_000, "featherlight export m --to onnx")
CLASSES = ("a", "<script>b")


def verification(count: int, wrong: int):
    logits = np.tile([5.0, 0.0], (count, 1))
    other = logits.copy()
    other[:wrong, 1] = 9
    paths = [f"data/a/{k}.png" for k in range(count)]
    return compare_outputs(logits, other, np.zeros(count, np.int64), paths, CLASSES, data="d", split="val", engine="e")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "export.html"


def test_a_passed_export_says_so(page: Path) -> None:
    write_export_page(page, verification(300, 0), FACTS)
    text = page.read_text(encoding="utf-8")
    assert "The same answers" in text
    assert "Thin evidence" not in text
    assert "Named differently" not in text
    assert "1.45 MB" in text
    assert "featherlight export m --to onnx" in text


def test_a_failed_one_says_why_and_shows_the_images(page: Path) -> None:
    result = verification(100, 3)
    pictured = [Pictured(one, np.zeros((20, 30, 3), np.uint8)) for one in result.disagreements[:2]]
    write_export_page(page, result, FACTS, pictured, ["fold_batch_norm: 3 places"])
    text = page.read_text(encoding="utf-8")
    assert "Other answers: not exported" in text
    assert "3 of 100 images are named differently" in text
    assert "Fewer than 200 images" in text
    assert text.count("data:image/jpeg") == 2
    assert "2 of 3 images" in text
    assert "fold_batch_norm: 3 places" in text


def test_names_cannot_break_out_of_the_page(page: Path) -> None:
    result = verification(100, 3)
    write_export_page(page, result, FACTS, [Pictured(result.disagreements[0], np.zeros((4, 4, 3), np.uint8))])
    text = page.read_text(encoding="utf-8")
    assert "<script>b" not in text
    assert "<b>m</b>" not in text
