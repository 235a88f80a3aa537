from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featherlight.model_file import read_card

Cli = Callable[..., Any]
Paint = Callable[[Path, str, int], Path]


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_image_is_named_in_one_line(cli: Cli, tiny_run: Path, color_folder: Path) -> None:
    image = color_folder / "test" / "red" / "00.png"
    answer = cli("predict", tiny_run, image)
    assert (answer.code, answer.err) == (0, "")
    (line,) = answer.out.splitlines()
    assert line.startswith(f"{image}: red ")
    labels = [part.split()[0] for part in line.removeprefix(f"{image}: ").split(", ")]
    assert sorted(labels) == ["blue", "green", "red"]
    assert all(part.endswith("%") for part in line.split(", "))


def threshold_of(run: Path) -> float:
    """Of the probability, below which the model says that it does not know the image."""
    reject = read_card(run / "model.safetensors").reject
    assert reject is not None
    return float(reject["threshold"])


def test_json_has_a_row_an_image_with_the_contracts_fields(cli: Cli, tiny_run: Path, color_folder: Path) -> None:
    answer = cli("predict", tiny_run / "model.safetensors", color_folder / "test", "--json", "--top", 2)
    assert (answer.code, answer.err) == (0, "")
    found = rows(answer.out)
    assert [row["path"] for row in found] == sorted(map(str, (color_folder / "test").rglob("*.png")))
    threshold = threshold_of(tiny_run)
    for row in found:
        assert set(row) == {"path", "label", "probability", "top", "rejected"}
        assert row["label"] == Path(row["path"]).parent.name
        assert row["top"][0] == [row["label"], row["probability"]]
        assert len(row["top"]) == 2
        assert row["rejected"] is (row["probability"] < threshold)
        assert 1 / 3 <= row["probability"] <= 1


def test_csv_has_a_head_and_a_row_an_image(cli: Cli, tiny_run: Path, color_folder: Path) -> None:
    answer = cli("predict", tiny_run, f"{color_folder}/test/*/0[01].png", "--csv")
    assert (answer.code, answer.err) == (0, "")
    found = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(found[0]) == ["path", "label", "probability", "rejected", "error"]
    assert [row["label"] for row in found] == ["blue", "blue", "green", "green", "red", "red"]
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in found)
    assert {row["error"] for row in found} == {""}
    threshold = threshold_of(tiny_run)
    assert all(row["rejected"] == str(float(row["probability"]) < threshold) for row in found)


@pytest.fixture
def good_bad_good(tmp_path: Path, paint: Paint) -> Path:
    paint(tmp_path / "photos" / "1.png", "blue", 0)
    cut = paint(tmp_path / "photos" / "2.png", "blue", 1)
    cut.write_bytes(cut.read_bytes()[:100])
    paint(tmp_path / "photos" / "3.png", "red", 2)
    return tmp_path / "photos"


def test_unreadable_image_is_an_error_row_and_the_others_are_answered(
    cli: Cli, tiny_run: Path, good_bad_good: Path
) -> None:
    answer = cli("predict", tiny_run, good_bad_good, "--json")
    assert (answer.code, answer.err) == (1, "1 image could not be read\n")
    first, second, third = rows(answer.out)
    assert (first["label"], third["label"]) == ("blue", "red")
    assert set(second) == {"path", "error"}
    assert second["path"] == str(good_bad_good / "2.png")


def test_unreadable_image_is_a_row_of_the_csv(cli: Cli, tiny_run: Path, good_bad_good: Path) -> None:
    answer = cli("predict", tiny_run, good_bad_good, "--csv")
    assert (answer.code, answer.err) == (1, "1 image could not be read\n")
    found = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["label"] for row in found] == ["blue", "", "red"]
    assert [bool(row["error"]) for row in found] == [False, True, False]


def test_unreadable_images_are_told_on_standard_error_for_people(cli: Cli, tiny_run: Path, good_bad_good: Path) -> None:
    (good_bad_good / "4.png").touch()
    answer = cli("predict", tiny_run, good_bad_good)
    assert answer.code == 1
    assert len(answer.out.splitlines()) == 2
    assert answer.err.splitlines()[1:] == [f"{good_bad_good}/4.png: empty file", "2 images could not be read"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["none.png"], "none.png: no such file or folder"),
        (["1.png", "none.png"], "none.png: no such file or folder"),
        (["1.png", "none.png", "--csv"], "none.png: no such file or folder"),
        (["empty"], "empty: the folder holds no image"),
        (["*.jpg"], "*.jpg: the pattern matches no image"),
    ],
)
def test_path_that_leads_nowhere_could_not_run(
    cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch, images: list[str], message: str
) -> None:
    (good_bad_good / "empty").mkdir()
    monkeypatch.chdir(good_bad_good)
    answer = cli("predict", tiny_run, *images)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "1.png"], "none: no such model file or run directory; runs are listed by: featherlight runs"),
        (["1.png", "1.png"], "1.png is an image; the model comes first: featherlight predict MODEL 1.png"),
        (["1.png"], "1.png is an image; the model comes first: featherlight predict MODEL 1.png"),
        ([".", "1.png"], ".: no model.safetensors in this folder; name a run directory or a model file"),
        (
            ["x" * 300, "1.png"],
            f"{'x' * 300}: no such model file or run directory; runs are listed by: featherlight runs",
        ),
        (["RUN", "1.png", "--json", "--csv"], "--json and --csv exclude each other"),
        (
            ["RUN", "1.png", "--engine", "tensorrt"],
            "unknown engine 'tensorrt'; there are: auto, torch, onnxruntime, openvino, ncnn, litert, executorch",
        ),
        (["RUN", "1.png", "--device", "gpu"], "unknown device 'gpu'; there are: auto, cpu, cuda, mps, npu, xpu"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(good_bad_good)
    answer = cli("predict", *(tiny_run if argument == "RUN" else argument for argument in arguments))
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {message}\n")


NAMES = ["a b.png", "猫.png", "semi;colon,comma.png", 'quote".png', "new\nline.png", "\x1b[31mred.png"]


@pytest.fixture
def strange_names(tmp_path: Path, paint: Paint) -> list[str]:
    paths = [str(paint(tmp_path / name, "green", 0)) for name in NAMES]
    latin = os.fsdecode(os.path.join(os.fsencode(tmp_path), "größe.png".encode("latin-1")))
    shutil.copy(paths[0], latin)
    return [*paths, latin]


def test_strange_names_come_through_json(cli: Cli, tiny_run: Path, strange_names: list[str]) -> None:
    answer = cli("predict", tiny_run, *strange_names, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert [row["path"] for row in rows(answer.out)] == strange_names


def test_strange_names_come_through_csv(cli: Cli, tiny_run: Path, strange_names: list[str]) -> None:
    answer = cli("predict", tiny_run, *strange_names, "--csv")
    assert (answer.code, answer.err) == (0, "")
    found = [row["path"] for row in csv.DictReader(io.StringIO(answer.out, newline=""))]
    assert found == [*strange_names[:-1], strange_names[-1].encode("utf-8", "backslashreplace").decode()]


def test_strange_names_are_one_printable_line_each_for_people(
    cli: Cli, tiny_run: Path, strange_names: list[str]
) -> None:
    answer = cli("predict", tiny_run, *strange_names)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.split("\n")
    assert len(lines) == len(strange_names) + 1
    assert all(line.isprintable() for line in lines)
    assert [line.partition(".png: green ")[0].rpartition("/")[2] for line in lines[:-1]] == [
        "a b", "猫", "semi;colon,comma", 'quote"', "new\\nline", "\\x1b[31mred", "gr\\udcf6\\udcdfe",
    ]  # fmt: skip


def test_list_on_standard_input(cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = f"{good_bad_good}/3.png\n{good_bad_good}/none.png\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(paths)))
    answer = cli("predict", tiny_run, "-", f"{good_bad_good}/1.png", "--json")
    assert (answer.code, answer.err) == (1, "1 image could not be read\n")
    first, second, third = rows(answer.out)
    assert (first["path"], first["label"]) == (f"{good_bad_good}/3.png", "red")
    assert second == {"path": f"{good_bad_good}/none.png", "error": "no such file"}
    assert (third["path"], third["label"]) == (f"{good_bad_good}/1.png", "blue")


def test_image_on_standard_input(
    cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, label, code in (("3.png", "red", 0), ("2.png", None, 1)):
        stream = io.TextIOWrapper(io.BytesIO((good_bad_good / name).read_bytes()))
        monkeypatch.setattr(sys, "stdin", stream)
        answer = cli("predict", tiny_run, "-", "--json")
        (row,) = rows(answer.out)
        assert (answer.code, row["path"], row.get("label")) == (code, "-", label)


def test_reader_that_wants_one_line_gets_it_and_no_complaint(tiny_run: Path, color_folder: Path) -> None:
    """``find ... | featherlight predict RUN - --csv | head -1``, in a real process."""
    paths = "".join(f"{path}\n" for path in color_folder.rglob("*.png")) * 20  # 1200 rows, more than a pipe holds
    command = [sys.executable, "-W", "error", "-m", "featherlight", "predict", str(tiny_run), "-", "--csv"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(paths)
        process.stdin.close()
        assert process.stdout.readline() == "path,label,probability,rejected,error\n"
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, "")


def test_output_is_a_table_of_all_answers(
    cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(good_bad_good)
    answer = cli("predict", tiny_run, "1.png", "--input", "2.png", "--input", "3.png", "--output", "a.parquet")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "a.parquet: 3 images\n1 image could not be read\n"
    assert parquet.read_table("a.parquet")["label"].to_pylist() == ["blue", None, "red"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'IMAGE|FOLDER|GLOB|- ...'"),
        (["--input", "1.png"], "--input and --ray need --output"),
        (["1.png", "--ray"], "--input and --ray need --output"),
        (["1.png", "--output", "a.parquet", "--json"], "--output writes Parquet; leave out --json and --csv"),
        (["-", "--output", "a.parquet"], "--output does not read standard input"),
    ],
)
def test_options_for_many_images_that_do_not_fit(
    cli: Cli, tiny_run: Path, good_bad_good: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(good_bad_good)
    answer = cli("predict", tiny_run, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {message}")
    assert not Path("a.parquet").exists()
