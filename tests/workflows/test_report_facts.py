from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherlight.cost.latency import machine_name
from featherlight.engines import open_engine
from featherlight.errors import UsageError
from featherlight.report import Mistake
from featherlight.workflows.evaluate import evaluate
from featherlight.workflows.profile import profile
from featherlight.workflows.report_facts import add_heats, check_can_look, cost_of, latency_of


def test_cost_is_what_profile_counts_and_the_file_weighs(tiny_run: Path) -> None:
    facts, counted = cost_of(open_engine(tiny_run), tiny_run), profile(tiny_run)
    assert (facts.params, facts.macs, facts.activation_bytes) == (
        counted.params, counted.macs, counted.activation_bytes
    )  # fmt: skip
    assert facts.size_bytes == (tiny_run / "model.safetensors").stat().st_size


def test_latency_says_what_was_measured_and_where(tiny_run: Path) -> None:
    facts = latency_of(open_engine(tiny_run, device="cpu"), threads=3)
    assert 0 < facts.p50_ms <= facts.p95_ms
    assert facts.num_calls >= 5
    assert (facts.engine, facts.threads, facts.input) == ("torch", 3, "16 × 16 px")
    assert facts.machine == machine_name()


def test_heats_are_over_the_image_that_the_network_saw(tiny_run: Path) -> None:
    engine = open_engine(tiny_run, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (18, 24, 40, 3), np.uint8)
    found = add_heats(engine, [Mistake(f"{k}.png", image, "red", "blue", 0.9) for k, image in enumerate(images)])
    assert {one.image.shape for one in found} == {(16, 16, 3)}
    assert [one.path for one in found] == [f"{k}.png" for k in range(18)]
    for one in found:
        assert one.heats.keys() == {"predicted", "true"}
        assert all(heat.shape == (4, 4) and 0 <= heat.min() <= heat.max() <= 1 for heat in one.heats.values())
    alone = add_heats(engine, [Mistake("17.png", images[17], "red", "blue", 0.9)])
    np.testing.assert_allclose(found[17].heats["true"], alone[0].heats["true"], atol=1e-5)


def test_no_mistakes_have_no_heats(tiny_run: Path) -> None:
    assert add_heats(open_engine(tiny_run, device="cpu"), []) == []


def test_an_engine_that_cannot_look_says_what_to_name() -> None:
    class Exported:
        name = "onnxruntime"

    with pytest.raises(UsageError, match=r"onnxruntime runs an exported file\. Name the run or the model file"):
        check_can_look(Exported())  # type: ignore[arg-type]


@pytest.fixture
def muddled(tmp_path: Path, paint: Callable[[Path, str, int], Path]) -> Path:
    """Two images a class, half of them in the wrong one."""
    for label in ("blue", "green", "red"):
        paint(tmp_path / "muddled" / label / "a.png", label, 900)
        paint(tmp_path / "muddled" / label / "b.png", "green" if label == "blue" else "blue", 901)
    return tmp_path / "muddled"


def test_report_shows_heats_in_chinese_and_the_numbers_are_in_the_json(
    tiny_run: Path, muddled: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = cli("evaluate", tiny_run, muddled, "--split", "all", "--cam", "--lang", "zh", "--out", out)
    assert answer.code == 0, answer.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    assert page.count('data-heat="predicted"') == page.count('data-heat="true"') >= 3
    assert "--cam --lang=zh" in page
    rows = json.loads((out / "evaluation.json").read_text())["mistakes"]
    assert {np.shape(row["maps"]["true"]) for row in rows} == {(4, 4)}


def test_maps_without_a_report_are_refused(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="shown in the report; name a folder for it with --out"):
        evaluate(tiny_run, cam=True)


def test_another_language_is_refused_before_anything_is_read(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        evaluate(tiny_run, "no/such/folder", lang="fr")
