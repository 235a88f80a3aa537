from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def sound(tmp_path: Path, paint: Callable[[Path, str, int], Path]) -> Path:
    for number, (split, count) in enumerate((("train", 20), ("val", 3))):
        for colour in ("red", "blue"):
            for k in range(count):
                paint(tmp_path / "my photos" / split / colour / f"{k}.png", colour, 100 * number + k)
    return tmp_path / "my photos"


@pytest.fixture
def faulty(sound: Path) -> Path:
    (sound / "train/red/\x1b[31mempty\n.png").touch()
    for k in range(5):
        shutil.copy(sound / f"train/red/{k}.png", sound / f"train/red/copy {k}.png")
    return sound


def test_sound_data_exits_with_0(cli: Cli, sound: Path) -> None:
    answer = cli("check", sound)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{sound}: 46 images in 2 classes; readable: 40 train, 6 val\n\nnothing found\n"


def test_findings_exit_with_1_and_are_told_by_harm(cli: Cli, faulty: Path) -> None:
    answer = cli("check", faulty)
    assert (answer.code, answer.err) == (1, "")
    lines = answer.out.splitlines()
    assert [line for line in lines if line and not line.startswith((" ", str(faulty)))] == [
        "error    unreadable  1",
        "warning  duplicate  5",
        "1 error, 5 warnings",
    ]
    assert "  and 2 more" in lines
    assert "train/red/\\x1b[31mempty\\n.png: cannot be read: empty file" in answer.out
    assert "\x1b" not in answer.out


@pytest.mark.parametrize(("level", "code"), [("error", 0), ("warning", 1), ("note", 1)])
def test_what_fails_can_be_chosen(cli: Cli, sound: Path, level: str, code: int) -> None:
    shutil.copy(sound / "train/red/0.png", sound / "train/red/copy.png")
    assert cli("check", sound, "--fail-on", level).code == code


def test_json_has_standard_output_to_itself(faulty: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "featherlight", "check", str(faulty), "--json", "--out", "out", "--fix", "fixed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/check.json").read_text())
    assert "fixed/manifest.csv lists 46 images; 6 images left out, fixed/removed.csv says why" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_results_are_is_said(cli: Cli, faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = cli("check", faulty, "--out", "out", "--fix", "my fix", "--lang", "zh").out.splitlines()
    assert lines[-2:] == ["page      out/check.html", "next      featherlight train 'my fix'/manifest.csv"]
    assert sorted(os.listdir("my fix")) == ["manifest.csv", "removed.csv"]
    page = Path("out/check.html").read_text(encoding="utf-8")
    assert "无法读取：空文件；训练会略过它" in page
    assert " --lang zh</code>" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no data at 'none': the path does not exist, and the known names are digits, cifar10, cifar100"),
        (["empty"], "EMPTY: no images; expected one folder a class"),
        (["DATA", "--fix", "taken"], "taken exists and is not empty; choose another --fix"),
        (["DATA", "--out", "DATA/x"], "DATA/x would lie within the data, DATA; choose another folder"),
        (["DATA", "--group-by", "("], "--group-by '(' is no regular expression: "),
        (["DATA", "--group-by", "person"], "--group-by 'person' is found in none of 46 names"),
        (["DATA", "--input-size", "3"], "Invalid value for '--input-size': 3 is not in the range 16<=x<=4096."),
        (["DATA", "--labels-time", "soon"], "Invalid value for '--labels-time': 'soon' is no duration; write 90s"),
        (["digits", "--fix", "new"], "--fix: the images of digits are not files, so no manifest can list them"),
    ],
)
def test_what_cannot_run_exits_with_2_and_writes_nothing(
    cli: Cli, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    answer = cli("check", *(argument.replace("DATA", str(sound)) for argument in arguments))
    assert (answer.code, answer.out) == (2, "")
    expected = message.replace("DATA", str(sound)).replace("EMPTY", str(tmp_path / "empty"))
    assert answer.err.startswith(f"error: {expected}")
    assert len(answer.err.splitlines()) <= 2
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before


def test_reader_that_goes_away_is_no_error(faulty: Path) -> None:
    check = [sys.executable, "-m", "featherlight", "check", str(faulty), "--json"]
    with subprocess.Popen(check, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)
