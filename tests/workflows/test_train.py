from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.errors import DataError, FeatherlightError, UsageError
from featherlight.model_file import read_card, read_tensors
from featherlight.sources import open_source
from featherlight.training.defaults import default_recipe
from featherlight.training.metrics_log import read_metrics
from featherlight.training.recipe import read_duration, read_recipe
from featherlight.workflows.train import facts_of, reproduce_command, resume, train

SETTINGS = {"model": "mobilenet_v1_x0_25", "epochs": 4, "batch_size": 8, "device": "cpu"}


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "featherlight", "train", str(data), "--model", "mobilenet_v1_x0_25", "--epochs", "4",
        "--set", "batch_size=8", "--device", "cpu", "--out", str(out), *more,
    ]  # fmt: skip


def test_a_run_directory_holds_everything(tiny_run):
    names = {path.name for path in tiny_run.iterdir()}
    assert {
        "model.safetensors",
        "recipe.toml",
        "metrics.jsonl",
        "evaluation.json",
        "report.html",
        "curves.png",
        "last",
    } <= names
    assert any(name.startswith("events.") for name in names)
    row = read_metrics(tiny_run)[-1]
    assert set(row) == {
        "epoch", "step", "images_seen", "seconds", "images_per_s", "learning_rate",
        "train_loss", "val_loss", "val_top1", "val_macro_f1",
    }  # fmt: skip
    with Image.open(tiny_run / "curves.png") as picture:
        assert min(picture.size) > 300


def test_the_run_says_what_it_was_made_of(tiny_run, color_folder):
    card, recipe = read_card(tiny_run / "model.safetensors"), read_recipe(tiny_run)
    assert card.provenance["data"] == recipe.data == str(color_folder)
    assert card.provenance["recipe"] == recipe.to_dict()
    assert card.model == recipe.model


@pytest.fixture(scope="module")
def whole(tmp_path_factory, color_folder):
    """The directory of a run of ``SETTINGS`` that nothing interrupted. Only to be read."""
    return train(color_folder, out=tmp_path_factory.mktemp("runs") / "whole", **SETTINGS).path


def test_killed_without_warning_and_resumed_ends_in_the_same_bits(tmp_path, color_folder, whole):
    cut = tmp_path / "cut"
    plan = read_recipe(whole)  # a busy machine may choose another one
    fixed = [f"{name}={getattr(plan, name)}" for name in ("layout", "precision", "compile", "kernels", "threads")]
    slow = [word for setting in ("checkpoint_every_s=0", *fixed) for word in ("--set", setting)]
    process = subprocess.Popen(
        arguments(color_folder, cut, *slow), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_a_step_inside_an_epoch(cut, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "model.safetensors").exists()
    resume(cut)
    assert_same_tensors(whole / "model.safetensors", cut / "model.safetensors")
    assert [row["epoch"] for row in read_metrics(cut)] == [1, 2, 3, 4]
    for a, b in zip(read_metrics(whole), read_metrics(cut), strict=True):
        assert {k: a[k] for k in a if k not in ("seconds", "images_per_s")} == {
            k: b[k] for k in a if k not in ("seconds", "images_per_s")
        }


def wait_for_a_step_inside_an_epoch(run: Path, process: subprocess.Popen[bytes]) -> None:
    from safetensors import safe_open

    checkpoint, deadline = run / "last" / "checkpoint.safetensors", time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        if checkpoint.exists():
            with safe_open(checkpoint, framework="np") as file:
                progress = json.loads(file.metadata()["progress"])
            if progress["epoch"] >= 1 and progress["batch"] >= 1:
                return
        time.sleep(0.005)
    raise AssertionError("no checkpoint inside the second epoch within two minutes")


def assert_same_tensors(a: Path, b: Path) -> None:
    first, second = read_tensors(a), read_tensors(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(tmp_path, color_folder, number):
    run = tmp_path / "run"
    command = arguments(color_folder, run, "--set", "checkpoint_every_s=0")
    command[command.index("--epochs") + 1] = "2000"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_a_step_inside_an_epoch(run, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"featherlight train --resume {run}" in errors
    assert "Traceback" not in errors


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "cut")
    for name in ("last", "model.safetensors", "metrics.jsonl"):
        path = tmp_path / "cut" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    resume(tmp_path / "cut")
    assert_same_tensors(whole / "model.safetensors", tmp_path / "cut" / "model.safetensors")


def test_resuming_a_finished_run_changes_nothing(tmp_path, tiny_run):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    result = resume(copy)
    assert result.metrics["epoch"] == read_metrics(tiny_run)[-1]["epoch"]
    assert_same_tensors(tiny_run / "model.safetensors", copy / "model.safetensors")


def test_the_command_in_the_report_makes_the_same_run_again(tmp_path, color_folder, cli):
    first = train(color_folder, out=tmp_path / "first", **SETTINGS, flip=False, learning_rate=0.07).path
    recipe = read_recipe(first)
    command = reproduce_command(recipe, open_source(color_folder))
    assert command in (first / "report.html").read_text().replace("&#39;", "'")
    program, *words = command.split()
    assert (program, cli(*words, "--out", tmp_path / "second").code) == ("featherlight", 0)
    assert read_recipe(tmp_path / "second") == recipe
    assert_same_tensors(first / "model.safetensors", tmp_path / "second" / "model.safetensors")


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 128, "learning_rate": 0.07},
        {"optimizer": "adamw", "weight_decay": 0.0005},
        {"input_size": 100, "crop": "pad"},
        {"time_s": 1e6},
        {"step_at": (0.2, 0.4), "dropout": 0.3, "flip": False},
    ],
)
def test_the_command_reproduces_settings_that_move_other_defaults(color_folder, settings):
    from featherlight.cli.train import command as train_command

    source = open_source(color_folder)
    recipe = default_recipe(facts_of(source), settings)
    words = shlex.split(reproduce_command(recipe, source))[2:]
    context = train_command.make_context("train", words)
    given = {name: context.params[name] for name in ("model", "epochs", "seed") if context.params[name] is not None}
    if context.params["time"]:
        given["time_s"] = read_duration(context.params["time"])
    assert default_recipe(facts_of(source), {**given, **dict(context.params["settings"])}) == recipe


@pytest.mark.slow
def test_runs_started_at_once_get_directories_of_their_own(tmp_path, color_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [word for word in arguments(color_folder, tmp_path) if word not in ("--out", str(tmp_path))]
    command[command.index("--epochs") + 1] = "1"
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    assert all((run / "model.safetensors").is_file() for run in runs)


def test_a_run_among_class_folders_is_refused(tmp_path, paint, monkeypatch):
    for colour in ("red", "blue"):
        for number in range(30):
            paint(tmp_path / colour / f"{number}.png", colour, number)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="among the class folders"):
        train(".", **SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir() if any(path.iterdir())) == ["blue", "red"]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, color_folder):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        train(color_folder, out=tmp_path, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "shuflenet_v2_x0_5"}, "shufflenet_v2_x0_5"),
        ({"device": "abacus"}, "unknown device"),
        ({"lr": 0.1}, "unknown recipe field"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, color_folder, settings, says):
    with pytest.raises(UsageError, match=says):
        train(color_folder, out=tmp_path / "run", **{**SETTINGS, **settings})
    assert not (tmp_path / "run").exists()


def test_unreadable_images_are_named_counted_and_skipped(tmp_path, color_folder, capsys):
    photos = tmp_path / "photos"
    shutil.copytree(color_folder, photos)
    broken = next((photos / "train").iterdir()) / "broken.png"
    broken.write_bytes(b"not an image")
    run = train(photos, out=tmp_path / "run", **SETTINGS)
    errors = capsys.readouterr().err
    assert str(broken) in errors
    assert "1 unreadable image skipped" in errors
    assert run.model_path.exists()
    assert "1 of the images could not be read" in errors
    with pytest.raises(DataError, match="broken"):
        train(photos, out=tmp_path / "strict", **SETTINGS, strict=True)
    assert not (tmp_path / "strict").exists()


def test_a_batch_of_one_image_of_one_pixel_is_a_clear_error(tmp_path, color_folder):
    with pytest.raises(UsageError, match="batch_size=2"):
        train(color_folder, out=tmp_path / "run", **{**SETTINGS, "batch_size": 1, "input_size": 16})


def test_images_larger_than_memory_are_streamed(tmp_path, color_folder, monkeypatch):
    import featherlight.workflows.training_images as workflow

    monkeypatch.setattr(workflow, "fits_in_memory", lambda *_: False)  # as if the images were a hundred thousand
    run = train(color_folder, out=tmp_path / "run", **{**SETTINGS, "epochs": 30})
    assert run.metrics["val_top1"] > 0.7


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 1},
        {"resize": "pad"},
        {"resize": "stretch", "crop": "none"},
        {"trivial_augment": True, "mixup": 0.2, "cutmix": 1.0},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"speed": "plain"},
        {"input_size": 72},
    ],
)
def test_every_way_to_train_ends_in_a_model_that_predicts(tmp_path, color_folder, changes):
    run = train(color_folder, out=tmp_path / "run", **{**SETTINGS, "epochs": 1, **changes})
    image = next(color_folder.rglob("*.png"))
    (answer,) = featherlight.Predictor(run.path).predict(image)
    assert answer.error is None
    assert sum(probability for _, probability in answer.top) == pytest.approx(1.0)


def test_out_of_memory_says_which_batch_size_to_try(tmp_path, color_folder):
    script = (
        "import resource, sys, torch, torchvision.transforms.v2\n"
        "from featherlight.workflows.train import train\n"
        "from featherlight.errors import FeatherlightError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2)\n"
        "try:\n"
        "    train(sys.argv[1], 'mobilenet_v1_x1_0', out=sys.argv[2], epochs=1, batch_size=48, input_size=512,\n"
        "          device='cpu')\n"
        "except FeatherlightError as error:\n"
        "    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(color_folder), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "out of memory with batch_size 48; try in a new run: --set batch_size=24" in answer.stdout, answer.stderr[
        -2000:
    ]


@pytest.mark.slow
def test_digits_reach_98_percent(tmp_path):
    run = train("digits", out=tmp_path / "run", device="cpu")
    assert run.metrics["top1"] >= 0.98


def test_unknown_data_is_an_error(tmp_path):
    with pytest.raises(FeatherlightError, match="digits, cifar10, cifar100"):
        train("no-such-data", out=tmp_path / "run", **SETTINGS)
