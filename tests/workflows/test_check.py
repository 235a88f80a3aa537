from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.errors import DataError, UsageError

Paint = Callable[[Path, str, int], Path]


@pytest.fixture
def photos(tmp_path: Path, paint: Paint) -> Path:
    """``train/`` and ``val/`` of two colours, 20 and 3 images a class; nothing is wrong with them."""
    for number, (split, count) in enumerate((("train", 20), ("val", 3))):
        for colour in ("red", "blue"):
            for k in range(count):
                paint(tmp_path / "photos" / split / colour / f"{k}.png", colour, 100 * number + k)
    return tmp_path / "photos"


def test_findings_in_python(photos: Path) -> None:
    shutil.copy(photos / "train/red/0.png", photos / "val/red/copy.png")
    findings = featherlight.check(photos)
    assert isinstance(findings, featherlight.Findings)
    assert (findings.data, findings.num_images, findings.input_size) == (str(photos), 47, 32)
    assert findings.classes == {"blue": {"train": 20, "val": 3}, "red": {"train": 20, "val": 4}}
    (leak,) = [finding for finding in findings if finding.kind == "leak"]
    assert leak.paths == (str(photos / "val/red/copy.png"), str(photos / "train/red/0.png"))
    assert findings.count("error") == 1


def test_results_are_written_as_the_contract_says(photos: Path, tmp_path: Path) -> None:
    (photos / "train/red/cut.png").write_bytes((photos / "train/red/0.png").read_bytes()[:100])
    findings = featherlight.check(photos, out=tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["check.html", "check.json"]
    written = json.loads((tmp_path / "out/check.json").read_text())
    assert written == findings.to_dict()
    assert {"num_images", "classes", "findings"} <= set(written)
    assert written["classes"]["red"] == {"train": 20, "val": 3}
    rows = [row for row in written["findings"] if row["kind"] in ("unreadable", "truncated")]
    assert [row["paths"] for row in rows] == [[str(photos / "train/red/cut.png")]] * 2
    assert all(set(row) == {"kind", "severity", "paths", "message"} for row in rows)
    page = (tmp_path / "out/check.html").read_text()
    assert "cut.png" in page
    assert "<svg" in page


def test_nothing_is_written_unless_asked(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    featherlight.check("photos")
    assert os.listdir(tmp_path) == ["photos"]


def test_usual_size_is_what_training_would_choose(tmp_path: Path) -> None:
    for seed in range(8):
        pixels = np.random.default_rng(seed).integers(0, 256, (150, 150, 3), np.uint8)
        (tmp_path / f"data/{seed % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"data/{seed % 2}/{seed}.png")
    assert featherlight.check(tmp_path / "data").input_size == 160
    assert featherlight.check(tmp_path / "data", input_size=320).input_size == 320


@pytest.mark.parametrize("place", ["out", "fix"])
def test_results_never_lie_within_the_data(photos: Path, tmp_path: Path, place: str) -> None:
    os.symlink(photos, tmp_path / "link")
    for folder in (photos, photos / "results", tmp_path / "link" / "x"):
        with pytest.raises(UsageError, match=r"within the data|is not empty"):
            featherlight.check(photos, **{place: folder})
    assert sorted(os.listdir(photos)) == ["train", "val"]


def test_fix_goes_into_a_new_folder_only(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/manifest.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not empty"):
        featherlight.check(photos, fix=tmp_path / "taken")
    assert (tmp_path / "taken/manifest.csv").read_text() == "mine"


def test_fix_of_images_that_are_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fix: the images of digits are not files"):
        featherlight.check("digits", fix=tmp_path / "fixed")
    assert os.listdir(tmp_path) == []


def test_cleaned_manifest_trains(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "train/red/0.png", photos / "val/red/copy.png")
    (photos / "train/red/bad.png").touch()
    (photos / "val/green").mkdir()
    shutil.copy(photos / "train/blue/3.png", photos / "val/green/odd.png")
    with pytest.raises(DataError):
        featherlight.train(photos, out=tmp_path / "none", epochs=1)
    featherlight.check(photos, fix=tmp_path / "fixed")
    settings = {"epochs": 1, "batch_size": 8, "input_size": 16, "device": "cpu"}
    run = featherlight.train(tmp_path / "fixed/manifest.csv", "mobilenet_v1_x0_25", out=tmp_path / "run", **settings)
    assert run.metrics["split"] == "val"
    assert run.metrics["num_images"] == 7


def test_all_ways_of_grouping_come_through(photos: Path, tmp_path: Path) -> None:
    leaks = [f for f in featherlight.check(photos, group_by=r"(\d+)\.png") if f.kind == "leak"]
    assert [f.message.split()[2] for f in leaks] == ["0", "1", "2"]
    with pytest.raises(UsageError, match="no regular expression"):
        featherlight.check(photos, group_by="(")
    with pytest.raises(UsageError, match="have no names that tell groups"):
        featherlight.check("digits", group_by="x")


@pytest.mark.parametrize("size", [0, 15, 4097])
def test_absurd_sizes_are_refused(photos: Path, size: int) -> None:
    with pytest.raises(UsageError, match="16 to 4096 is expected"):
        featherlight.check(photos, input_size=size)


def test_full_disk_leaves_nothing_half_written(photos: Path, tmp_path: Path, disk_with_room_for) -> None:
    featherlight.check(photos)  # so that what is known of the images need not be written
    with disk_with_room_for(3000), pytest.raises(featherlight.FeatherlightError, match=r"cannot write .*check\.html"):
        featherlight.check(photos, out=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["check.json"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("flowers-500", [("note", "too_small"), ("note", "near_duplicate")]),
        ("sign-digits", [("warning", "group"), ("note", "odd_size"), ("note", "near_duplicate")]),
    ],
)
def test_real_images(name: str, told: list[tuple[str, str]]) -> None:
    folder = Path(os.environ.get("FEATHERLIGHT_TEST_DATA", ""), name)
    if not folder.is_absolute() or not folder.is_dir():
        pytest.skip(f"set FEATHERLIGHT_TEST_DATA to a folder that holds {name}")
    assert [(f.severity, f.kind) for f in featherlight.check(folder)] == told
