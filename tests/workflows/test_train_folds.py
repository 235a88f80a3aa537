from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import featherlight
from featherlight.errors import UsageError
from featherlight.training.recipe import read_recipe
from featherlight.workflows.cross_validation import cross_validate, finish_folds, train_runs

QUICK = {"epochs": 2, "batch_size": 8, "input_size": 16, "speed": "plain", "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def folds(made_once, color_folder) -> Path:
    return made_once("folds", lambda out: cross_validate(color_folder, "mobilenet_v1_x0_25", folds=2, out=out, **QUICK))


def test_each_image_is_measured_out_of_its_fold(folds, color_folder):
    evaluation = json.loads((folds / "evaluation.json").read_text())
    summary = json.loads((folds / "folds.json").read_text())
    assert evaluation["split"] == "out-of-fold"
    assert evaluation["num_images"] == summary["num_images"] == 48  # train and val; the given test split is left alone
    assert [row["num_images"] for row in summary["folds"]] == [24, 24]
    low, high = summary["top1_interval"]
    assert low <= summary["top1"] <= high
    assert summary["top1"] == pytest.approx(np.mean([row["top1"] for row in summary["folds"]]))
    assert (folds / "report.html").is_file()


def test_a_fold_is_a_usual_run(folds):
    run = folds / "fold-2"
    assert read_recipe(run).fold == "2/2"
    summary = json.loads((folds / "folds.json").read_text())
    found = featherlight.evaluate(run, split="val")
    assert (found.top1, found.num_images) == (summary["folds"][1]["top1"], 24)


def test_finished_folds_are_not_trained_again(folds):
    before = (folds / "fold-1" / "model.safetensors").stat().st_mtime_ns
    found = finish_folds(folds)
    assert (folds / "fold-1" / "model.safetensors").stat().st_mtime_ns == before
    assert found.evaluation.to_json() == (folds / "evaluation.json").read_text()


@pytest.mark.slow
def test_an_interrupted_fold_goes_on_and_folds_run_side_by_side(tmp_path, folds, color_folder):
    from safetensors.torch import load_file

    out = tmp_path / "folds"
    cross = cross_validate(color_folder, "mobilenet_v1_x0_25", folds=2, out=out, **QUICK)
    for run in cross.runs:  # as if both had been killed before their models were written
        (run / "model.safetensors").unlink()
        (run / "evaluation.json").unlink()
    train_runs(cross.runs, ["cpu", "cpu"])
    for run in cross.runs:
        found, expected = (load_file(place / "model.safetensors") for place in (run, folds / run.name))
        assert all((found[name] == value).all() for name, value in expected.items())
        assert "test accuracy" in (run / "training.log").read_text()


@pytest.mark.parametrize("setting", [{"keep": "best"}, {"patience": 3}, {"target": 0.9}])
def test_choosing_by_the_measured_images_is_refused(tmp_path, color_folder, setting):
    with pytest.raises(UsageError, match="measured on"):
        cross_validate(color_folder, folds=2, out=tmp_path / "run", **QUICK, **setting)
    assert not (tmp_path / "run").exists()


def test_the_command_says_what_was_found_and_goes_on(cli, folds):
    answer = cli("train", "--resume", folds)
    assert answer.code == 0
    assert answer.out.startswith("out-of-fold accuracy ")
    assert cli("train", "--resume", folds, "--epochs", 5).code == 2
