from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featherlight.engines import compute_logits, open_engine, prepare_image
from featherlight.images.corruptions import shift
from featherlight.metrics import cross_entropy, softmax
from featherlight.sources import open_source
from featherlight.workflows.averaging import measure_test_time
from featherlight.workflows.evaluate import evaluate
from featherlight.workflows.measuring import measure_split


@pytest.mark.parametrize("flip", [False, True])
def test_figures_are_those_of_averaged_probabilities(tiny_run: Path, color_folder: Path, flip: bool) -> None:
    engine = open_engine(tiny_run, device="cpu")
    engine.card = replace(engine.card, provenance={"recipe": {"flip": flip}}, temperature=1.7)
    measured = measure_split(engine, open_source(color_folder), "test", "m")
    found = measure_test_time(engine, measured)
    images = [prepare_image(engine, measured.images.read(k)) for k in range(12)]
    moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]  # a sixteenth of 16 pixels
    variants = [[shift(image, *move) for image in images] for move in moves]
    if flip:
        variants += [[shift(image[:, ::-1], *move) for image in images] for move in moves]
    mean = np.mean([softmax(compute_logits(engine, variant), 1.7) for variant in variants], axis=0)
    assert len(found["variants"]) == len(variants)
    assert found["top1"] == np.mean(mean.argmax(axis=1) == measured.labels)
    assert found["nll"] == pytest.approx(cross_entropy(np.log(mean), measured.labels), rel=1e-4)
    assert found["nll_without"] == measured.evaluation.nll
    assert found["brier_without"] == measured.evaluation.brier
    assert found["seconds"] >= found["seconds_without"] >= 0


def test_images_that_change_sides_are_counted(tiny_run: Path, color_folder: Path) -> None:
    engine = open_engine(tiny_run, device="cpu")
    measured = measure_split(engine, open_source(color_folder), "test", "m")
    wrong = measured.logits.copy()
    wrong[:4] = wrong[:4, [1, 2, 0]]  # as if four images had been named wrongly without variants
    found = measure_test_time(engine, replace(measured, logits=wrong))
    assert (found["mended"], found["spoilt"]) == (4, 0)


def test_evaluation_has_it_where_asked_for(tiny_run: Path) -> None:
    assert evaluate(tiny_run, device="cpu").tta is None
    tta = evaluate(tiny_run, device="cpu", tta=True).tta
    assert tta["top1_without"] == 1.0
    assert tta["variants"][0] == "as it is"


def test_image_that_has_gone_meanwhile_keeps_its_answer(tiny_run: Path, color_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(color_folder / "test", tmp_path / "photos")
    engine = open_engine(tiny_run, device="cpu")
    measured = measure_split(engine, open_source(tmp_path / "photos", as_it_is=True), "test", "m")
    (tmp_path / "photos" / "red" / "00.png").unlink()
    found = measure_test_time(engine, measured)
    assert (found["top1"], found["mended"], found["spoilt"]) == (1.0, 0, 0)
