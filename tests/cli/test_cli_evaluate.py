from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
KEYS = [
    "model", "data", "split", "engine", "num_images", "classes", "top1", "top5", "loss",
    "macro_precision", "macro_recall", "macro_f1", "per_class",
    "confusion_matrix", "most_confused", "temperature", "unreadable",
    "top1_interval", "intervals", "ece", "nll", "brier", "reliability", "reject", "mistakes", "corruptions", "tta",
]  # fmt: skip


@pytest.fixture
def colors(color_folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be changed."""
    return Path(shutil.copytree(color_folder, tmp_path / "my colors"))


def test_json_has_the_contracts_fields_and_standard_output_to_itself(
    cli: Cli, tiny_run: Path, color_folder: Path
) -> None:
    answer = cli("evaluate", tiny_run, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert list(found) == KEYS
    assert (found["data"], found["split"], found["num_images"]) == (str(color_folder), "test", 12)
    assert found["confusion_matrix"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert set(found["per_class"]["red"]) == {"precision", "recall", "f1", "support"}


def test_people_get_numbers_and_a_table(cli: Cli, tiny_run: Path, color_folder: Path) -> None:
    answer = cli("evaluate", tiny_run, color_folder, "--split", "val")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == f"{color_folder}, val: 12 images"
    assert lines[1].startswith("accuracy 100.00% (73.5% to 100.0%)   loss 0.")  # of two classes, five hold all
    assert lines[2] == "mean over classes: recall 100.00%   precision 100.00%   F1 1.0000"
    assert re.fullmatch(
        r"calibration error [\d.]+%, without temperature [\d.]+%   temperature [\d.]+   Brier score 0\.\d{4}", lines[3]
    )
    assert lines[5].split() == ["class", "precision", "recall", "f1", "support"]
    assert [line.split() for line in lines[6:9]] == [
        [c, "1.000", "1.000", "1.000", "4"] for c in ("blue", "green", "red")
    ]
    assert re.fullmatch(r"rejection by probability below [\d.]+: 100\.00% kept, 100\.00% of them right", lines[10])
    assert len(lines) == 11


def test_of_very_many_classes_the_worst_are_shown(
    cli: Cli, tiny_run: Path, color_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featherlight.cli.evaluate.CLASSES_SHOWN", 2)
    lines = cli("evaluate", tiny_run, color_folder, "--split", "val").out.splitlines()
    assert lines[5] == "the 2 of 3 classes with the lowest F1; --json has all"
    assert [line.split()[0] for line in lines[6:9]] == ["class", "blue", "green"]


def test_most_frequent_confusion_is_told(cli: Cli, tiny_run: Path, colors: Path) -> None:
    (colors / "test" / "red").rename(colors / "test" / "other")
    (colors / "test" / "blue").rename(colors / "test" / "red")
    (colors / "test" / "other").rename(colors / "test" / "blue")
    answer = cli("evaluate", tiny_run, colors)
    assert answer.code == 0
    assert "\nmost confused: blue taken for red, 4 times\n" in answer.out


def test_out_gets_the_same_numbers_and_a_page(cli: Cli, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = cli("evaluate", tiny_run, "--json", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]
    assert json.loads((out / "evaluation.json").read_text()) == json.loads(answer.out)
    assert cli("evaluate", tiny_run, "--out", out).out.endswith(f"\nreport  {out}/report.html\n")


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_split_chooses(cli: Cli, tiny_run: Path, split: str) -> None:
    found = json.loads(cli("evaluate", tiny_run, "--split", split, "--json").out)
    assert (found["split"], found["num_images"]) == (split, {"train": 36, "val": 12, "test": 12, "all": 60}[split])


def test_unreadable_image_is_skipped_and_told(cli: Cli, tiny_run: Path, colors: Path) -> None:
    broken = colors / "test" / "red" / "00.png"
    broken.write_bytes(b"")
    answer = cli("evaluate", tiny_run, colors, "--json")
    assert (answer.code, answer.err) == (0, f"skipped {broken}: empty file\n1 unreadable image skipped\n")
    found = json.loads(answer.out)
    assert (found["num_images"], found["unreadable"]) == (11, [[str(broken), "empty file"]])
    strict = cli("evaluate", tiny_run, colors, "--json", "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert strict.err.splitlines()[-1].startswith(f"error: 1 unreadable image, the first: {broken}: empty file. Remove")


def test_unknown_class_could_not_run(cli: Cli, tiny_run: Path, colors: Path) -> None:
    for split in ("train", "val", "test"):
        (colors / split / "green").rename(colors / split / "grün")
    answer = cli("evaluate", tiny_run, colors)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: the model never saw this class: grün. It knows: blue, green, red\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such model file or run directory; runs are listed by: featherlight runs"),
        (
            ["RUN", "none"],
            "no data at 'none': the path does not exist, and the known names are digits, cifar10, cifar100",
        ),
        (
            ["RUN", "--engine", "none"],
            "unknown engine 'none'; there are: auto, torch, onnxruntime, openvino, ncnn, litert, executorch",
        ),
        (["RUN", "--out", "file"], "cannot write file/evaluation.json: File exists"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    cli: Cli, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    answer = cli("evaluate", *(tiny_run if argument == "RUN" else argument for argument in arguments))
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {message}\n")


def test_people_are_told_what_the_further_measurements_found(
    cli: Cli, tiny_run: Path, tmp_path: Path, paint: Callable[[Path, str, int], Path]
) -> None:
    for number in range(6):
        paint(tmp_path / "other" / f"{number}.png", "green", number)
    options = ("--corruptions", "--tta", "--unknown", tmp_path / "other", "--out", tmp_path / "out")
    answer = cli("evaluate", tiny_run, *options)
    assert answer.code == 0
    assert re.search(r"unknown images \(6 of .*other\): [\d.]+% accepted, AUROC [01]\.\d{4}\n", answer.out)
    assert "\n12 images made worse: " in answer.out
    assert [line.split()[0] for line in answer.out.splitlines() if line.startswith("  ")] == [
        "noise", "blur", "jpeg", "brightness", "contrast", "shift",
    ]  # fmt: skip
    assert re.search(r"averaged over (5|10) variants: accuracy [\d.]+% instead of 100\.00%", answer.out)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["corruptions.png", "evaluation.json", "report.html"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store"], "there is no new threshold without --reject-rate, or --unknown with --false-accept-rate"),
        (["--false-accept-rate", "0.1"], "a false-accept rate needs images that should be rejected: --unknown FOLDER"),
        (["--reject-rate", "1.5"], "the reject rate is 1.5; a part from 0 to below 1 is expected, 0.05 for 5 %"),
        (["--reject-rate", "nan"], "the reject rate is nan; a part from 0 to below 1 is expected, 0.05 for 5 %"),
        (
            ["--unknown", "x", "--reject-rate", "0.1", "--false-accept-rate", "0.1"],
            "a threshold is fitted to a false-accept rate or to a reject rate, not to both",
        ),
        (
            ["--unknown", "none"],
            "no data at 'none': the path does not exist, and the known names are digits, cifar10, cifar100",
        ),
    ],
)
def test_rejection_that_cannot_be_is_one_line_and_exit_code_2(
    cli: Cli, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("evaluate", tiny_run, *options)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {message}\n")
