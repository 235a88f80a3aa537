from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import DataError, FeatherlightError, ModelFileError, UsageError
from featherlight.model_file import read_card, read_tensors
from featherlight.sources import open_source
from featherlight.training.checkpoint import read_progress
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import read_recipe
from featherlight.workflows.train import reproduce_command, resume, train

SETTINGS = {"model": "mobilenet_v1_x0_25", "epochs": 2, "batch_size": 12, "input_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> Path:
    return train(color_folder, out=tmp_path_factory.mktemp("runs") / "two", **SETTINGS).path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_finished_run_is_extended_and_tells_its_history(run, color_folder, cli, tmp_path):
    answer = cli("train", "--resume", run, "--epochs", 5)
    assert answer.code == 0
    assert "epochs 2 becomes epochs 5, after 2 epochs" in answer.err
    assert [row["epoch"] for row in read_metrics(run)] == [1, 2, 3, 4, 5]
    recipe = read_recipe(run)
    assert (recipe.epochs, recipe.history) == (5, ("until step 6: epochs 2",))
    assert read_card(run / "model.safetensors").provenance["recipe"]["history"] == list(recipe.history)

    command = reproduce_command(recipe, open_source(color_folder)).replace("RUN", str(tmp_path / "again"))
    first, second = command.split(" && ")
    assert "--epochs 2" in first
    for part in (first, second):
        subprocess.run([sys.executable, "-m", *part.split()], check=True, capture_output=True)
    a, b = (read_tensors(path / "model.safetensors") for path in (run, tmp_path / "again"))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_of_epochs_goes_on_by_time(run):
    result = resume(run, time=f"{3 * read_progress(run).seconds:.2f}s")  # as the two epochs took, twice more
    assert read_recipe(run).epochs == 0
    assert result.metrics["epoch"] > 2
    assert result.metrics["stopped"] == "end"


def test_a_target_stops_and_is_told(tmp_path, color_folder, cli):
    options = ["--model", "mobilenet_v1_x0_25", "--epochs", 9, "--set", "batch_size=12", "--set", "input_size=16"]
    run = tmp_path / "run"
    answer = cli("train", color_folder, *options, "--target", 0.1, "--device", "cpu", "--out", run)
    assert answer.code == 0
    assert "stopped after epoch 1: " in answer.err
    assert read_metrics(run)[-1]["stopped"] == "target"
    with pytest.raises(UsageError, match="higher --target, or --target 0"):
        resume(run, epochs=20)
    assert resume(run, target=0.0).metrics["epoch"] == 9


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 1}, "has done 2 epochs"),
        ({"time": "0.01s"}, "has trained for"),
        ({"epochs": 9, "time": "1h"}, "one of the two"),
        ({"target": 0.99999}, "is finished; say for how long"),
    ],
)
def test_an_extension_that_leaves_nothing_to_do_is_refused_and_changes_nothing(run, changes, says):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=says):
        resume(run, **changes)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_finished_run_says_that_it_was_and_how_to_go_on(run, cli):
    answer = cli("train", "--resume", run)
    assert answer.code == 0, answer.err
    assert f"{run} was finished; only its results are made anew. For longer: --epochs or --time" in answer.err


def test_patience_keeps_the_best_unless_told_otherwise(tmp_path, color_folder):
    run = train(color_folder, out=tmp_path / "a", **{**SETTINGS, "epochs": 30}, learning_rate=0.0, patience=2)
    assert (run.metrics["stopped"], run.metrics["epoch"]) == ("patience", 3)
    assert read_recipe(run.path).keep == "best"


def test_a_student_learns_from_a_teacher_and_its_run_knows_which(tmp_path, color_folder, tiny_run, cli):
    teacher = tmp_path / "teacher"
    shutil.copytree(tiny_run, teacher)
    run = train(color_folder, out=tmp_path / "run", teacher=str(teacher), mixup=0.2, **SETTINGS).path
    known = read_card(run / "model.safetensors").provenance["teacher"]
    assert known["model"] == str(teacher)
    assert len(known["fingerprint"]) == 64
    assert resume(run, epochs=3).metrics["epoch"] == 3
    shutil.copy(run / "model.safetensors", teacher / "model.safetensors")
    with pytest.raises(ModelFileError, match="teacher has changed"):
        resume(run, epochs=4)


@pytest.mark.parametrize(
    ("teacher", "error", "says"),
    [
        ("no/such/run", UsageError, "no run directory or model file"),
        ("timm/resnet18", FeatherlightError, "FEATHERLIGHT_OFFLINE"),
    ],
)
def test_an_unusable_teacher_is_told_before_anything_is_written(tmp_path, color_folder, teacher, error, says):
    with pytest.raises(error, match=says):
        train(color_folder, out=tmp_path / "run", teacher=teacher, **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(tmp_path, color_folder, tiny_run):
    fewer = tmp_path / "photos"
    shutil.copytree(color_folder, fewer)
    for split in ("train", "val", "test"):
        (fewer / split / "red").rename(fewer / split / "crimson")
    with pytest.raises(DataError, match="does not know 'crimson'"):
        train(fewer, out=tmp_path / "run", teacher=str(tiny_run), **SETTINGS)
    assert not (tmp_path / "run").exists()
