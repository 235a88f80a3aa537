"""The names that other people's scripts rely on, checked on the whole way from images to an exported file."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

import featherlight
from featherlight.cli.main import run
from featherlight.sources import open_source
from featherlight.targets.web_runtime import RUNTIME_FILES


@dataclass(frozen=True)
class Output:
    stdout: str
    stderr: str


def command(*arguments: str | Path, exit_code: int = 0) -> Output:
    """Runs a command in this process, and checks the exit code; `cli` is not for fixtures of a module."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    assert code == exit_code, err.getvalue()
    return Output(out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("contract") / "run"
    options = ["--model", "mobilenet_v1_x0_25", "--epochs", "2", "--seed", "1", "--device", "cpu"]
    command("train", "digits", *options, "--out", run, "--set", "label_smoothing=0.05")
    return run


@pytest.fixture(scope="module")
def digit_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    split = open_source("digits").splits["test"]
    for index in range(3):
        Image.fromarray(split.read(index)).save(folder / f"digit {index}.png")
    return folder


def test_run_directory(digits_run):
    names = {path.name for path in digits_run.iterdir()}
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
    rows = [json.loads(line) for line in (digits_run / "metrics.jsonl").read_text().splitlines()]
    keys = [
        "epoch",
        "step",
        "images_seen",
        "seconds",
        "images_per_s",
        "learning_rate",
        "train_loss",
        "val_loss",
        "val_top1",
        "val_macro_f1",
    ]
    assert [list(row) for row in rows] == [keys, keys]
    assert "label_smoothing = 0.05" in (digits_run / "recipe.toml").read_text()


def test_evaluation_json(digits_run):
    evaluation = json.loads((digits_run / "evaluation.json").read_text())
    keys = {
        "model", "data", "split", "engine", "num_images", "classes", "top1", "top5", "loss", "macro_f1", "per_class",
        "confusion_matrix", "most_confused", "top1_interval", "intervals", "ece", "nll", "brier", "temperature",
        "reliability", "reject", "mistakes", "corruptions", "tta",
    }  # fmt: skip
    assert keys <= set(evaluation)
    low, high = evaluation["top1_interval"]
    assert 0 <= low <= evaluation["top1"] <= high <= 1
    assert evaluation["reject"]["score"] == "probability"
    assert {"threshold", "kept", "accuracy_of_kept"} <= set(evaluation["reject"])
    assert {"binning", "bins", "ece_before", "ece_after"} <= set(evaluation["reliability"])
    assert (evaluation["split"], evaluation["data"], evaluation["classes"]) == (
        "test",
        "digits",
        [str(k) for k in range(10)],
    )
    matrix = evaluation["confusion_matrix"]
    assert sum(map(sum, matrix)) == evaluation["num_images"]
    assert evaluation["top1"] == pytest.approx(sum(matrix[k][k] for k in range(10)) / evaluation["num_images"])
    for k, name in enumerate(evaluation["classes"]):
        assert set(evaluation["per_class"][name]) == {"precision", "recall", "f1", "support"}
        assert evaluation["per_class"][name]["support"] == sum(matrix[k])


def test_evaluate_repeats_what_training_said(digits_run):
    printed = json.loads(command("evaluate", digits_run, "--json").stdout)
    saved = json.loads((digits_run / "evaluation.json").read_text())
    assert printed.keys() == saved.keys()
    assert {k: printed[k] for k in printed if k != "model"} == {k: saved[k] for k in saved if k != "model"}


def test_evaluate_a_file_on_named_data_and_split(digits_run, tmp_path):
    options = ["--split", "val", "--lang", "zh", "--out", tmp_path / "out"]
    command("evaluate", digits_run / "model.safetensors", "digits", *options)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["split"] == "val"
    assert '<html lang="zh-CN">' in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def threshold_of(run):
    """Below which probability the run's model rejects an image."""
    return json.loads((run / "evaluation.json").read_text())["reject"]["threshold"]


def test_predict_json_rows(digits_run, digit_images):
    (digit_images / "broken.png").write_bytes(b"no image")
    done = command("predict", digits_run, digit_images, "--json", "--top", "3", exit_code=1)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    good, bad = [row for row in rows if "error" not in row], [row for row in rows if "error" in row]
    assert [set(row) for row in bad] == [{"path", "error"}]
    assert len(good) == 3
    for row in good:
        assert set(row) == {"path", "label", "probability", "top", "rejected"}
        assert row["rejected"] is (row["probability"] < threshold_of(digits_run))
        assert len(row["top"]) == 3
        assert row["top"][0] == [row["label"], row["probability"]]
    (digit_images / "broken.png").unlink()


def test_predict_csv_rows(digits_run, digit_images):
    rows = list(csv.DictReader(io.StringIO(command("predict", digits_run, digit_images, "--csv").stdout)))
    assert len(rows) == 3
    assert all(row["label"] in map(str, range(10)) for row in rows)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Two colours, 32 images each, listed in a CSV."""
    folder = tmp_path_factory.mktemp("data set")
    generator = np.random.default_rng(0)
    rows = [("path", "label", "split")]
    for number in range(64):
        pixels = generator.integers(0, 128, (32, 32, 3), np.uint8)
        pixels[..., number % 2] += 127
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append((f"{number}.png", ("red", "green")[number % 2], "train" if number < 48 else "val"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "list.csv"


def test_check_json_of_clean_data_exits_with_0(manifest, tmp_path):
    done = command("check", manifest, "--json", "--out", tmp_path / "report")
    found = json.loads(done.stdout)
    assert {"num_images", "classes", "findings"} <= set(found)
    assert (found["num_images"], found["findings"]) == (64, [])
    assert {name: (row["train"], row["val"]) for name, row in found["classes"].items()} == {
        "red": (24, 8),
        "green": (24, 8),
    }
    assert json.loads((tmp_path / "report" / "check.json").read_text()) == found
    assert (tmp_path / "report" / "check.html").stat().st_size > 1000


def test_check_of_a_leak_exits_with_1_and_training_with_2(manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    absolute = [lines[0], *(f"{manifest.parent}/{line}" for line in lines[1:])]
    leaking = tmp_path / "leak.csv"
    leaking.write_text("\n".join([*absolute, f"{manifest.parent}/0.png,red,val"]))
    findings = json.loads(command("check", leaking, "--json", exit_code=1).stdout)["findings"]
    assert {"kind", "severity", "paths", "message"} <= set(findings[0])
    assert [(row["kind"], row["severity"]) for row in findings if row["severity"] == "error"] == [("leak", "error")]
    assert "--allow-leaks" in command("train", leaking, "--out", tmp_path / "run", exit_code=2).stderr
    assert not (tmp_path / "run").exists()


def test_check_json_says_what_would_help_when_it_is_asked(manifest):
    found = json.loads(command("check", manifest, "--enough", "--time", "0.1s", "--device", "cpu", "--json").stdout)
    assert {"answer", "sentence", "gains", "curves"} <= set(found["enough"])
    assert found["enough"]["answer"] == "unknown"


def test_check_names_what_cannot_be_read(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (32, 32), (60 * number, 0, 80)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "broken.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:40])
    findings = json.loads(command("check", tmp_path, "--json", exit_code=1).stdout)["findings"]
    of_broken = {row["kind"] for row in findings if row["paths"] == [str(tmp_path / "a" / "broken.png")]}
    assert of_broken == {"unreadable", "truncated"}


def test_train_on_a_manifest_from_fresh_weights(manifest, tmp_path):
    run = tmp_path / "run"
    options = ["--model", "mobilenet_v1_x0_25", "--epochs", "1", "--pretrained", "none", "--balance", "sampler"]
    command("train", manifest, *options, "--device", "cpu", "--out", run)
    recipe = (run / "recipe.toml").read_text()
    assert 'pretrained = "none"' in recipe
    assert 'balance = "sampler"' in recipe
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert (evaluation["split"], evaluation["num_images"], evaluation["classes"]) == ("val", 16, ["green", "red"])

    command("train", "--resume", run, "--epochs", "2")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert "epochs = 2" in (run / "recipe.toml").read_text().splitlines()
    assert "more than that" in command("train", "--resume", run, "--epochs", "1", exit_code=2).stderr


def test_train_by_a_published_recipe(tmp_path):
    assert "article-ascend-mobilenet-v1" in command("train", "--list-recipes").stdout.split()
    options = ["--recipe", "article-ascend-mobilenet-v1", "--model", "mobilenet_v1_x0_25", "--epochs", "1"]
    command("train", "digits", *options, "--device", "cpu", "--out", tmp_path / "run")
    lines = (tmp_path / "run" / "recipe.toml").read_text().splitlines()
    assert {'recipe = "article-ascend-mobilenet-v1"', 'loss = "double-softmax"', "schedule_epochs = 150"} <= set(lines)


@pytest.fixture(scope="module")
def exported(digits_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("exported")
    options = ["--to", "onnx", "--form", "shuffle", "--out", place / "model", "--kit", place / "kit"]
    done = command("export", digits_run, *options)
    assert f"{place / 'model' / 'model.onnx'}" in done.stdout
    return place / "model"


def test_export_makes_a_model_a_page_and_a_kit(exported):
    assert {path.name for path in exported.iterdir()} == {"model.onnx", "export.html"}
    kit = exported.parent / "kit"
    assert {path.name for path in kit.iterdir()} == {
        "model.onnx", "labels.txt", "sample.png", "expected.json", "run.py",
    }  # fmt: skip


def test_an_exported_file_has_the_named_inputs_outputs_and_metadata(exported):
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape[3]) == ("image", "tensor(uint8)", 3)
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    metadata = session.get_modelmeta().custom_metadata_map
    assert {"featherlight", "model", "classes", "preprocessing", "provenance", "verification"} <= set(metadata)
    assert json.loads(metadata["verification"])["passed"] is True


def test_verify_json(digits_run, exported):
    result = json.loads(command("verify", exported, "--against", digits_run, "--json").stdout)
    keys = {
        "agreement", "max_diff", "mean_diff", "accuracy", "reference_accuracy", "num_images", "disagreements", "passed",
    }  # fmt: skip
    assert keys <= set(result)
    assert (result["agreement"], result["passed"], result["disagreements"]) == (1, True, [])


def test_a_failed_gate_exits_with_1_and_lists_the_images(digits_run, exported, tmp_path):
    other = featherlight.load_model(digits_run)
    with torch.no_grad():
        other.get_submodule("fc").weight.neg_()
    card = {"classes": other.classes, "preprocessing": other.preprocessing}
    featherlight.save_model(other, tmp_path / "other.safetensors", **card)
    against = ["--against", tmp_path / "other.safetensors", "digits", "--split", "val"]
    result = json.loads(command("verify", exported, *against, "--json", exit_code=1).stdout)
    assert result["passed"] is False
    assert {"path", "exported", "reference", "margin"} == set(result["disagreements"][0])


def test_predict_and_evaluate_take_an_exported_file(digits_run, exported, digit_images):
    rows = {
        model: [json.loads(line) for line in command("predict", model, digit_images, "--json").stdout.splitlines()]
        for model in (digits_run, exported)
    }
    assert [row["label"] for row in rows[exported]] == [row["label"] for row in rows[digits_run]]
    assert {tuple(row) for row in rows[exported]} == {("path", "label", "probability", "top", "rejected")}
    evaluation = json.loads(command("evaluate", exported, "--json").stdout)
    saved = json.loads((digits_run / "evaluation.json").read_text())
    assert evaluation["engine"] == "onnxruntime"
    assert abs(evaluation["top1"] - saved["top1"]) <= 1 / saved["num_images"]


def test_benchmark_json(exported):
    options = ["--batch", "1", "--threads", "1", "--seconds", "0.05", "--json"]
    (row,) = json.loads(command("benchmark", exported, *options).stdout)
    keys = {
        "model", "engine", "precision", "batch", "threads", "p50_ms", "p95_ms", "images_per_s", "size_bytes",
        "peak_memory_bytes",
    }  # fmt: skip
    assert keys <= set(row)
    assert (row["engine"], row["precision"], row["batch"], row["threads"]) == ("onnxruntime", "float32", 1, 1)
    assert row["size_bytes"] == (exported / "model.onnx").stat().st_size


def test_compare_json(digits_run, exported):
    result = json.loads(command("compare", digits_run, exported, "--seconds", "0", "--json").stdout)
    keys = {
        "data", "split", "num_images", "classes", "threads", "machine", "models", "pairs", "sentence", "notes",
        "disagreements",
    }  # fmt: skip
    assert keys <= set(result)
    (pair,) = result["pairs"]
    assert {"first", "second", "difference", "interval", "only_first", "only_second", "p", "p_corrected"} <= set(pair)
    assert (pair["difference"], pair["real"], result["disagreements"]) == (0, False, [])
    evaluation = json.loads((digits_run / "evaluation.json").read_text())
    assert [model["accuracy"] for model in result["models"]] == pytest.approx([evaluation["top1"]] * 2)


def test_runs_json(digits_run):
    (row,) = json.loads(command("runs", digits_run.parent, "--sort", "accuracy", "--json").stdout)
    keys = {
        "path", "status", "network", "data", "accuracy", "split", "size_bytes", "time_s", "epochs", "input_size",
        "date", "problem",
    }  # fmt: skip
    assert keys <= set(row)
    assert (row["status"], row["network"], row["data"], row["epochs"]) == (
        "finished", "mobilenet_v1_x0_25", "digits", 2,
    )  # fmt: skip


def test_choose_exits_with_1_where_no_network_keeps_the_limits(tmp_path):
    options = ["--max-macs", "1k", "--models", "mobilenet_v1_x0_25", "--time", "1m", "--out", tmp_path / "out"]
    command("choose", "digits", *options, exit_code=1)
    choice = json.loads((tmp_path / "out" / "choose.json").read_text())
    assert {"budget", "candidates", "pick", "sentence"} <= set(choice)
    assert choice["pick"] is None
    assert "mobilenet_v1_x0_25" in choice["sentence"]


@contextmanager
def serving(model):
    """The command in a process of its own at a free port, and a client that asks it."""
    arguments = [sys.executable, "-m", "featherlight", "serve", str(model), "--port", "0", "--threads", "1"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0


def test_serve_answers_with_the_rows_of_predict(exported, digit_images):
    path = digit_images / "digit 0.png"
    image = path.read_bytes()
    (expected,) = (json.loads(line) for line in command("predict", exported, path, "--json").stdout.splitlines())
    with serving(exported) as client:
        answers = [
            client.post("/v1/predict", files=[("files", (path.name, image))]),
            client.post("/v1/predict", content=image, headers={"Content-Type": "image/png"}),
            client.post("/v1/predict", json={"images": [base64.b64encode(image).decode()]}),
        ]
        refused = [
            client.post("/v1/predict", content=b"", headers={"Content-Type": "image/png"}).status_code,
            client.post("/v1/predict", content=b"a,b", headers={"Content-Type": "text/csv"}).status_code,
        ]
        classes = client.get("/v1/model").json()["classes"]
        pages = [client.get(page).status_code for page in ("/healthz", "/readyz", "/metrics", "/docs", "/")]
    assert (refused, classes, pages) == ([400, 415], [str(k) for k in range(10)], [200] * 5)
    rows = [row for answer in answers for row in answer.json()["predictions"]]
    assert [row["path"] for row in rows] == ["digit 0.png", "image 0", "image 0"]
    for row in rows:
        assert set(row) == set(expected)
        assert (row["label"], row["rejected"]) == (expected["label"], expected["rejected"])
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-6)


def test_export_for_the_web_makes_a_folder_that_predicts(digits_run, digit_images, tmp_path):
    package = tmp_path / "node_modules" / "onnxruntime-web" / "dist"  # what npm installs; it is not run here
    package.mkdir(parents=True)
    for name in RUNTIME_FILES.values():
        (package / name).write_bytes(b"/*!\n * ONNX Runtime Web v1.29.3\n */")
    made = featherlight.export(
        digits_run, "web", form="shuffle", out=tmp_path / "site", runtime=tmp_path, title="Digit?"
    )
    assert {"index.html", "sw.js", "model.onnx"} <= {path.name for path in (tmp_path / "site").iterdir()}
    assert made.verification.passed
    image = digit_images / "digit 1.png"
    (answer,), (expected,) = (featherlight.Predictor(path).predict([image]) for path in (tmp_path / "site", digits_run))
    assert answer.label == expected.label


def test_find_rate_json(manifest):
    options = ["--model", "mobilenet_v1_x0_25", "--steps", "40", "--device", "cpu", "--json"]
    found = json.loads(command("find-rate", manifest, *options).stdout)
    assert {"rates", "losses", "suggestion"} <= set(found)
    assert found["rates"][0] < found["suggestion"] < found["rates"][-1]


def test_profile_json():
    cost = json.loads(command("profile", "shufflenet_v2_x0_5", "--format", "json").stdout)
    assert set(cost) == {"model", "input", "total", "layers"}
    assert (cost["model"], cost["input"]) == ("shufflenet_v2_x0_5", [3, 224, 224])
    assert set(cost["total"]) == {"params", "macs", "macs_without_classifier", "activation_bytes"}
    assert cost["total"]["params"] == 1_366_792
    for layer in cost["layers"]:
        assert set(layer) == {"name", "type", "output", "params", "macs", "activation_bytes"}
    assert sum(layer["macs"] for layer in cost["layers"]) == cost["total"]["macs"]


@pytest.fixture(scope="module")
def foreign_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "torchvision.safetensors"
    save_file(torchvision.models.shufflenet_v2_x0_5(num_classes=3).state_dict(), path)
    return path


def test_convert_makes_a_model_file_that_predicts(foreign_weights, digit_images, tmp_path):
    names, out = tmp_path / "names.txt", tmp_path / "model.safetensors"
    names.write_text("a\nb\nc\n")
    command("convert", foreign_weights, "--model", "shufflenet_v2_x0_5", "--class-names", names, "--out", out)
    rows = [json.loads(line) for line in command("predict", out, digit_images, "--json").stdout.splitlines()]
    assert {label for row in rows for label, _ in row["top"]} == {"a", "b", "c"}


def test_weights_of_another_network_exit_with_2_and_leave_no_file(foreign_weights, tmp_path):
    out = tmp_path / "model.safetensors"
    done = command("convert", foreign_weights, "--model", "shufflenet_v2_x1_0", "--out", out, exit_code=2)
    assert str(foreign_weights) in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_explain_prints_the_shuffle():
    assert "a1 b1 c1 a2 b2 | c2 a3 b3 c3 a4 | b4 c4 a5 b5 c5" in command("explain", "channel-shuffle").stdout
    command("explain", "channel-shuffle", "--groups", "4", "--channels", "15", exit_code=2)


def test_models_json():
    names = {row["name"] for row in json.loads(command("models", "--json").stdout)}
    expected = {f"shufflenet_v1_g{g}_x1_0" for g in (1, 2, 3, 4, 8)} | {
        f"shufflenet_v2_x{w}" for w in ("0_5", "1_0", "1_5", "2_0")
    }
    expected |= {f"mobilenet_v1_x{w}" for w in ("0_25", "0_5", "0_75", "1_0")}
    expected |= {"mobilenet_v2_x1_0", "mobilenet_v3_small", "mobilenet_v3_large"}
    assert expected | {"shufflenet_v1_g3_x1_0.jaxony", "shufflenet_v2_x1_0.keras", "mobilenet_v1_x1_0.ascend"} <= names


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "no-such-folder"),
        ("train", "digits", "--model", "no_such_network"),
        ("train", "digits", "--time", "15 minutes"),
        ("train", "digits", "--epochs", "many"),
        ("train", "digits", "--set", "speling=1"),
        ("train", "digits", "--device", "abacus"),
        ("train", "--resume", "no-such-run"),
        ("train", "digits", "--recipe", "no-such-recipe"),
        ("train", "digits", "--teacher", "no-such-teacher"),
        ("find-rate", "no-such-folder"),
        ("evaluate", "no-such-run"),
        ("evaluate", "no-such-run", "--store"),
        ("predict", "no-such-run", "image.png"),
        ("compare", "no-such-run", "no-other-run"),
        ("runs", "no-such-folder"),
        ("choose", "no-such-folder"),
        ("serve", "no-such-run"),
        ("check", "no-such-folder"),
        ("train", "digits", "--pretrained", "no-such-weights"),
        ("convert", "no-such-file.pth", "--model", "shufflenet_v2_x0_5", "--out", "model.safetensors"),
        ("profile", "no_such_network"),
        ("export", "no-such-run"),
        ("export", "no-such-run", "--to", "no-such-target"),
        ("verify", "no-such-file.onnx", "--against", "no-such-run"),
        ("benchmark", "no_such_network"),
        ("no-such-command",),
    ],
)
def test_what_cannot_run_exits_with_2_and_says_why_in_two_lines(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*arguments, exit_code=2)
    assert 1 <= len(done.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_the_process_exits_with_these_codes_too(manifest, tmp_path):
    leaking = tmp_path / "leak.csv"
    leaking.write_text(f"path,label,split\n{manifest.parent}/0.png,red,train\n{manifest.parent}/0.png,red,val\n")
    for data, code in ((manifest, 0), (leaking, 1), ("no-such-folder", 2)):
        process = [sys.executable, "-m", "featherlight", "check", str(data), "--json"]
        done = subprocess.run(process, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
        assert (done.stdout == "") == (code == 2)


def test_an_output_folder_that_is_not_empty_exits_with_2(digits_run):
    before = sorted(path.name for path in digits_run.iterdir())
    done = command("train", "digits", "--out", digits_run, exit_code=2)
    assert "not empty" in done.stderr
    assert sorted(path.name for path in digits_run.iterdir()) == before


def test_python_names(digits_run, digit_images, manifest, foreign_weights, tmp_path):
    network = featherlight.create_model(
        "shufflenet_v2_x0_5", num_classes=5, in_channels=1, input_size=32, stem=None, dropout=0.1
    )
    assert {"check", "choose", "compare", "find_rate", "load_weights", "profile"} <= set(featherlight.__all__)
    assert "shufflenet_v1_g3_x1_0.jaxony" in featherlight.list_models()
    assert featherlight.list_models("mobilenet_v3*") == ["mobilenet_v3_small", "mobilenet_v3_large"]
    preprocessing = featherlight.Preprocessing(32, mean=(0.5,), std=(0.25,))
    featherlight.save_model(network, tmp_path / "five.safetensors", classes=list("abcde"), preprocessing=preprocessing)
    loaded = featherlight.load_model(tmp_path / "five.safetensors")
    assert (loaded.training, loaded.classes, loaded.preprocessing) == (False, tuple("abcde"), preprocessing)

    (first, *_) = answers = featherlight.Predictor(digits_run, engine="auto").predict(
        sorted(digit_images.glob("*.png")), top=5
    )
    assert len(answers) == 3
    assert (first.label, first.probability) == first.top[0]
    assert first.rejected is (first.probability < threshold_of(digits_run))
    assert (first.error, len(first.top)) == (None, 5)
    assert featherlight.evaluate(digits_run).split == "test"
    assert featherlight.profile(digits_run).input == (3, 32, 32)
    made = featherlight.export(digits_run, "onnx", form="shuffle", out=tmp_path / "model.onnx")
    assert (made.path, made.verification.passed) == (tmp_path / "model.onnx", True)
    assert featherlight.verify(made.path, digits_run).passed

    findings = featherlight.check(manifest)
    assert (findings.num_images, list(findings)) == (64, [])
    weights = featherlight.create_model("shufflenet_v2_x0_5", num_classes=3)
    assert featherlight.load_weights(weights, foreign_weights, layout=None) is weights

    run = featherlight.train("digits", model="mobilenet_v1_x0_25", epochs=1, out=tmp_path / "run", device="cpu")
    assert run.path == tmp_path / "run"
    assert run.model_path == run.path / "model.safetensors"
    assert run.metrics["epoch"] == 1
