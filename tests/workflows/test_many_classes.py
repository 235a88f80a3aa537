from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.model_file import read_card

CLASSES = 10_000
FILES = {"train": 64, "val": 16}
ROWS = {"train": CLASSES, "val": 400}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """An image for each of 10,000 classes, most of them the same few files, and some to validate."""
    rng = np.random.default_rng(0)
    rows = []
    for split, count in ROWS.items():
        for k in range(FILES[split]):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"{split}{k}.png")
        rows += [(f"{split}{k % FILES[split]}.png", f"class {k:05}", split) for k in range(count)]
    with (tmp_path / "wide.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return tmp_path / "wide.csv"


@pytest.mark.slow
def test_ten_thousand_classes_go_the_whole_way(manifest: Path, tmp_path: Path, cli: Callable[..., object]) -> None:
    settings = {"epochs": 1, "batch_size": 256, "input_size": 16, "device": "cpu", "balance": "weights"}
    run = featherlight.train(manifest, "shufflenet_v2_x0_5", out=tmp_path / "run", **settings)
    assert len(read_card(run.model_path).classes) == CLASSES
    found = json.loads((run.path / "evaluation.json").read_text())
    assert found["num_images"] == 400
    assert found["confusion_matrix"]["shape"] == [CLASSES, CLASSES]
    assert sum(found["confusion_matrix"]["count"]) == 400
    assert len(found["per_class"]) == CLASSES
    assert (run.path / "evaluation.json").stat().st_size < 3_000_000
    assert (run.path / "report.html").stat().st_size < 3_000_000
    again = featherlight.evaluate(run.path)
    assert again.confusion_matrix == found["confusion_matrix"]
    answer = cli("predict", run.path, manifest.parent / "val0.png", "--json")
    assert len(json.loads(answer.out)["top"]) == 5  # type: ignore[attr-defined]
