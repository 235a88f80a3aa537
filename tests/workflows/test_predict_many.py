from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from featherlight.errors import DataError, FeatherlightError, ModelFileError, UsageError
from featherlight.workflows.answer_file import AnswerFile
from featherlight.workflows.answer_part import as_table
from featherlight.workflows.predict import predict
from featherlight.workflows.predict_many import predict_many

pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Paint = Callable[[Path, str, int], Path]
COUNT = 7


@pytest.fixture
def photos(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven images of which the fourth is cut off."""
    for number in range(COUNT):
        paint(tmp_path / "photos" / f"{number}.png", ("red", "green", "blue")[number % 3], number)
    cut = tmp_path / "photos" / "3.png"
    cut.write_bytes(cut.read_bytes()[:100])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def rows(path: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def assert_alike(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    """The same but for rounding: how many images are computed together is not the same."""
    for row, other in zip(found, expected, strict=True):
        assert [row[name] for name in ("path", "label", "rejected", "error")] == [
            other[name] for name in ("path", "label", "rejected", "error")
        ]
        for one, two in zip(row["top"] or [], other["top"] or [], strict=True):
            assert one == {"label": two["label"], "probability": pytest.approx(two["probability"], abs=1e-6)}
        assert row["probability"] == (row["top"][0]["probability"] if row["top"] else None)


def expected(model: Path, images: Sequence[str]) -> list[dict[str, Any]]:
    """What ``predict --json`` says, with nulls for what a row does not have."""
    answers = []
    for answer in predict(model, images, device="cpu"):
        row = {"label": None, "probability": None, "top": None, "rejected": None, "error": None} | answer.to_row()
        top = row["top"] and [{"label": label, "probability": value} for label, value in row["top"]]
        answers.append(row | {"top": top})
    return answers


def test_rows_are_those_of_predict_in_order_with_errors_among_them(light_run: Path, photos: Path) -> None:
    found = predict_many(light_run, ["photos"], "answers.parquet", device="cpu", part_size=2)
    assert (found.path, found.images, found.errors) == ("answers.parquet", COUNT, 1)
    assert_alike(rows("answers.parquet"), expected(light_run, ["photos"]))
    assert [row["path"] for row in rows("answers.parquet") if row["error"]] == ["photos/3.png"]
    assert sorted(os.listdir()) == ["answers.parquet", "photos"]


def test_the_same_again_computes_nothing(light_run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = predict_many(light_run, ["photos"], "answers.parquet", device="cpu", part_size=2)
    before = os.stat("answers.parquet").st_mtime_ns
    assert predict_many(light_run, ["photos"], "answers.parquet", device="cpu", part_size=2) == first
    assert os.stat("answers.parquet").st_mtime_ns == before
    assert "answers.parquet is there already" in capsys.readouterr().err


def interrupt(model: Path, limit: Callable[[int], AbstractContextManager[None]]) -> None:
    """Leaves all parts, but not the file: the disk is full before it is whole."""
    predict_many(model, ["photos"], "whole.parquet", device="cpu", part_size=2)
    with (
        limit(os.stat("whole.parquet").st_size - 1),
        pytest.raises(FeatherlightError, match=r"cannot write .*answers\.parquet"),
    ):
        predict_many(model, ["photos"], "answers.parquet", device="cpu", part_size=2)


def test_what_was_answered_before_is_kept(
    light_run: Path, photos: Path, disk_with_room_for: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(light_run, disk_with_room_for)
    parts = Path("answers.parquet.parts")
    assert {path.name for path in parts.glob("[0-9]*.parquet")} == {f"{number:08}.parquet" for number in range(4)}
    (parts / "00000001.parquet").unlink()
    marked = pq.read_table(parts / "00000002.parquet").set_column(1, "label", [["kept", "kept"]])
    pq.write_table(marked, parts / "00000002.parquet")
    predict_many(light_run, ["photos"], "answers.parquet", device="cpu", part_size=2)
    found, usual = rows("answers.parquet"), expected(light_run, ["photos"])
    assert [row["label"] for row in found[4:6]] == ["kept", "kept"]
    assert_alike(found[:4] + found[6:], usual[:4] + usual[6:])
    assert "going on: 5 images of 7 are answered already" in capsys.readouterr().err
    assert not parts.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda photos: shutil.copy(photos / "0.png", photos / "9.png"), "images, number of images"),
        (lambda photos: (photos / "6.png").rename(photos / "8.png"), "other images"),
    ],
)
def test_other_images_do_not_mix_with_answers_that_are_there(
    light_run: Path, photos: Path, disk_with_room_for: Any, change: Callable[[Path], object], message: str
) -> None:
    interrupt(light_run, disk_with_room_for)
    change(photos)
    with pytest.raises(UsageError, match=f"unfinished answers to something else: .*{message}"):
        predict_many(light_run, ["photos"], "answers.parquet", device="cpu", part_size=2)


def test_another_model_or_top_does_not_mix_with_answers_that_are_there(
    light_run: Path, tiny_run: Path, photos: Path, disk_with_room_for: Any
) -> None:
    interrupt(light_run, disk_with_room_for)
    with pytest.raises(UsageError, match="something else: other model"):
        predict_many(tiny_run, ["photos"], "answers.parquet", device="cpu", part_size=2)
    with pytest.raises(UsageError, match="something else: other top"):
        predict_many(light_run, ["photos"], "answers.parquet", top=1, device="cpu", part_size=2)


def test_a_file_that_answers_something_else_stays(light_run: Path, photos: Path) -> None:
    Path("answers.parquet").write_text("mine")
    with pytest.raises(UsageError, match="exists and answers something else; choose another --output"):
        predict_many(light_run, ["photos"], "answers.parquet")
    assert Path("answers.parquet").read_text() == "mine"
    assert sorted(os.listdir()) == ["answers.parquet", "photos"]


def test_a_folder_in_the_way_stays(light_run: Path, photos: Path) -> None:
    Path("answers.parquet.parts").mkdir()
    Path("answers.parquet.parts/mine.txt").touch()
    with pytest.raises(UsageError, match="in the way"):
        predict_many(light_run, ["photos"], "answers.parquet")
    assert Path("answers.parquet.parts/mine.txt").exists()


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    first, second = (AnswerFile(tmp_path / "a.parquet") for _ in range(2))
    with first.claim({"top": 5}):
        with pytest.raises(UsageError, match="another process is writing"), second.claim({"top": 5}):
            pass
        first.add(0, as_table([], []))
    with second.claim({"top": 5}):
        assert second.finished() == {0}


def test_names_that_are_no_text_are_escaped(light_run: Path, photos: Path) -> None:
    latin = os.fsdecode("größe.png".encode("latin-1"))
    shutil.copy(photos / "0.png", photos / latin)
    predict_many(light_run, ["photos"], "answers.parquet", device="cpu")
    assert rows("answers.parquet")[-1]["path"] == "photos/gr\\udcf6\\udcdfe.png"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"output": "answers.csv"}, UsageError, r"answers\.csv: answers are written as Parquet"),
        ({"images": ["none"]}, DataError, "none: no such file or folder"),
        ({"model": "none"}, ModelFileError, "none: no such model file"),
        ({"top": 0}, UsageError, "top is 0"),
        ({"engine": "abacus"}, UsageError, "unknown engine 'abacus'"),
        ({"output": "s3:///answers.parquet"}, DataError, "names no bucket"),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing(
    light_run: Path, photos: Path, change: dict[str, Any], error: type[FeatherlightError], message: str
) -> None:
    asked = {"model": light_run, "images": ["photos"], "output": "answers.parquet"} | change
    with pytest.raises(error, match=message):
        predict_many(**asked)
    assert os.listdir() == ["photos"]


def test_without_ray_the_line_to_install_it(light_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FeatherlightError, match=r'pip install "featherlight\[ray\]"'):
        predict_many(light_run, ["photos"], "answers.parquet", ray="auto")


@pytest.mark.slow
def test_a_killed_process_costs_the_part_it_was_at(light_run: Path, photos: Path) -> None:
    Path("list.csv").write_text("path\n" + "photos/1.png\n" * 3000)
    command = [sys.executable, "-m", "featherlight", "predict", str(light_run), "--input", "list.csv"]
    command += ["--output", "answers.parquet", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    parts = Path("answers.parquet.parts")
    while not (parts / "00000001.parquet").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Path("answers.parquet").exists()
    kept = len(list(parts.glob("[0-9]*.parquet")))
    again = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"going on: {kept * 64:,} images of 3,000 are answered already" in again.stderr
    assert [row["path"] for row in rows("answers.parquet")] == ["photos/1.png"] * 3000
    assert not parts.exists()
    about = json.loads(pq.read_schema("answers.parquet").metadata[b"featherlight"])
    assert about["number of images"] == 3000
