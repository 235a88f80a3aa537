from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import encode
from PIL import Image

from featherlight.errors import UnreadableImageError
from featherlight.images import load_image, opening
from featherlight.predictor import Predictor
from featherlight.sources import open_source
from featherlight.sources.facts import collect_contents, collect_facts
from featherlight.sources.files import FileReader
from featherlight.workflows import training_images

Cli = Callable[..., Any]

TRAINING = ("--epochs", 3, "--device", "cpu", "--set", "batch_size=6", "--set", "input_size=16", "--set", "workers=2")
READ, FIRST_EPOCH = "run: ", "epoch   1 "  # what training says before it reads images, and after the first epoch
REASONS = {
    "00.png": "no such file",
    "01.png": "truncated",
    "02.png": "not an image (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM)",
    "03.png": "a pipe or a device, not a file",
    "04.png": "a folder, not an image",
    "05.png": "cannot be read: too many levels of symbolic links",
    "06.png": "empty file",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """``train/``, ``val/`` and ``test/`` with two classes; 12, 4 and 4 images each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for name in "ab":
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{k:02}.png")
    return tmp_path / "data"


def spoil(folder: Path) -> None:
    """Images are removed, cut, overwritten and replaced; one by a good image of another size."""
    for name in REASONS:
        if name not in ("01.png", "02.png", "06.png"):
            (folder / name).unlink()
    os.truncate(folder / "01.png", 60)
    (folder / "02.png").write_text("hello")
    os.mkfifo(folder / "03.png")
    (folder / "04.png").mkdir()
    (folder / "05.png").symlink_to("05.png")
    os.truncate(folder / "06.png", 0)
    Image.new("L", (300, 2)).save(folder / "07.png")


class ActsAt(io.StringIO):
    """Standard error that does something when a text is printed for the first time."""

    def __init__(self, text: str, action: Callable[[], None]) -> None:
        super().__init__()
        self._text, self._action = text, action
        self.has_acted = False

    def write(self, text: str) -> int:
        if self._text in text and not self.has_acted:
            self.has_acted = True
            self._action()
        return super().write(text)


def train_while(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, data: Path, when: str, action: Callable[[], None]
) -> tuple[int, str]:
    """Exit code and what was told, of a training during which something happens to the images."""
    told = ActsAt(when, action)
    monkeypatch.setattr(sys, "stderr", told)
    code = cli("train", data, "--out", data.parent / "run", *TRAINING).code
    assert told.has_acted, told.getvalue()
    return code, told.getvalue()


def skipped_of(data: Path, split: str) -> set[str]:
    return {f"skipped {data / split / 'a' / name}: {reason}" for name, reason in REASONS.items()}


@pytest.fixture(params=["in memory", "streamed"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where training images are kept."""
    if request.param == "streamed":
        monkeypatch.setattr(training_images, "fits_in_memory", lambda *_: False)
    return str(request.param)


def test_images_that_change_before_they_are_read_are_skipped(
    cli: Cli, data: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        for split in ("train", "test"):
            Image.new("RGB", (24, 24)).save(data / split / "a" / "07.png")
            for number in range(7):
                shutil.copy(data / split / "b" / "00.png", data / split / "a" / f"{number:02}.png")
        spoil(data / "train" / "a")
        (data / "val" / "a" / "00.png").unlink()
        (data / "test" / "a" / "00.png").unlink()

    code, told = train_while(monkeypatch, cli, data, READ, change)
    gone = {f"skipped {data / split / 'a' / '00.png'}: no such file" for split in ("val", "test")}
    assert code == 0, told
    assert {line for line in told.splitlines() if line.startswith("skipped")} == skipped_of(data, "train") | gone
    assert "9 of the images could not be read and took no part; they are named above" in told
    assert json.loads((data.parent / "run" / "evaluation.json").read_text())["num_images"] == 7


@pytest.mark.parametrize("kept", [False, True])
def test_images_that_change_between_epochs_are_skipped_unless_they_are_kept(
    cli: Cli, data: Path, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_images, "fits_in_memory", lambda *_: False)
    monkeypatch.setenv("FEATHERLIGHT_CACHE_GB", "1" if kept else "0")
    code, told = train_while(monkeypatch, cli, data, FIRST_EPOCH, lambda: spoil(data / "train" / "a"))
    lines = told.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith(FIRST_EPOCH))
    assert code == 0, told
    assert not [line for line in lines[:first] if line.startswith("skipped")]
    assert {line for line in lines if line.startswith("skipped")} == (set() if kept else skipped_of(data, "train"))
    rows = [json.loads(line) for line in (data.parent / "run" / "metrics.jsonl").read_text().splitlines()]
    assert np.diff([0, *(row["images_seen"] for row in rows)]).tolist() == ([24, 24, 24] if kept else [24, 17, 17])


@pytest.mark.parametrize("when", [READ, FIRST_EPOCH])
def test_folder_that_is_gone_is_an_error_not_a_crash(
    cli: Cli, data: Path, place: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = train_while(monkeypatch, cli, data, when, lambda: shutil.rmtree(data))
    last = told.splitlines()[-1]
    assert code == 2
    assert last.startswith("error: not one ")
    assert "could be read" in last or "can be read" in last
    assert (data.parent / "run" / "last").exists() is (when == FIRST_EPOCH)


def test_images_gone_since_they_were_listed_have_no_facts(data: Path) -> None:
    split = open_source(data).splits["train"]
    spoil(data / "train" / "a")
    facts = collect_facts(split)
    expected = {str(data / "train" / "a" / name): reason for name, reason in REASONS.items()}
    assert dict(facts.unreadable(split)) == expected
    unreadable = np.flatnonzero(collect_contents(split) == 0)
    assert [os.path.basename(split.paths[k]) for k in unreadable] == ["00.png", "03.png", "04.png", "05.png"]


def test_image_that_was_overwritten_is_not_remembered_as_it_was(data: Path) -> None:
    split = open_source(data).splits["train"]
    before = collect_facts(split)
    shutil.copy(data / "train" / "b" / "00.png", data / "train" / "a" / "00.png")
    after = collect_facts(split)
    assert after.pixels[0] == before.pixels[split.paths.index(str(data / "train" / "b" / "00.png"))]
    assert (after.pixels[1:] == before.pixels[1:]).all()


def test_images_that_vanish_while_others_are_named(data: Path, tiny_run: Path) -> None:
    paths = [str(data / "train" / "a" / f"{k:02}.png") for k in range(12)]

    def vanishing() -> Iterator[str]:
        for k, path in enumerate(paths):
            if k == 4:
                shutil.rmtree(data)
            yield path

    answers = list(Predictor(tiny_run, device="cpu").stream(vanishing(), batch_size=2))
    assert [answer.error for answer in answers] == [None] * 4 + ["no such file"] * 8


# ---- while a file is read


def test_pipe_that_takes_a_files_place_does_not_wait_for_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking at a path and opening it there is always a moment."""
    path = tmp_path / "1.png"
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda _: os.lstat(__file__))
    with pytest.raises(UnreadableImageError, match=r"1\.png: a pipe or a device, not a file"):
        opening.open_file(path)


def test_growing_file_is_read_as_far_as_it_was_when_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, look = tmp_path / "log.png", os.fstat
    path.write_bytes(encode(Image.new("RGB", (32, 32), "red"), "PNG"))

    def look_and_append(descriptor: int) -> os.stat_result:
        status = look(descriptor)
        with path.open("ab") as file:
            file.write(bytes(2**20))
        return status

    monkeypatch.setattr(os, "fstat", look_and_append)
    assert load_image(path)[0, 0].tolist() == [255, 0, 0]
    assert 0 < len(FileReader((str(path),)).encoded(0)) < path.stat().st_size


READ_UNTIL_TOLD = """
import select, sys
from featherlight.errors import UnreadableImageError
from featherlight.images import load_image
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        load_image(sys.argv[1])
    except UnreadableImageError:
        pass
"""


def test_file_that_gets_shorter_while_it_is_decoded_kills_nothing(tmp_path: Path) -> None:
    """libtiff maps files into memory; what is then cut off is a bus error."""
    path = tmp_path / "1.tif"
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
    whole = encode(Image.fromarray(noise), "TIFF", compression="tiff_lzw")
    path.write_bytes(whole)
    with subprocess.Popen(
        [sys.executable, "-c", READ_UNTIL_TOLD, str(path)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reader:
        for _ in range(60):
            os.truncate(path, 4096)
            time.sleep(0.005)
            path.write_bytes(whole)
            time.sleep(0.03)
        assert reader.stdin is not None
        reader.stdin.close()
    assert reader.returncode == 0
