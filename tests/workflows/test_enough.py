from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.errors import UsageError
from featherlight.sources.findings import Checked, Enough
from featherlight.sources.findings.survey import look_at, survey_data
from featherlight.workflows import enough
from featherlight.workflows.enough import FOLDS, PAIRS, Pair, find_enough
from featherlight.workflows.small_networks import read_checked

Paint = Callable[[Path, str, int], Path]
TINY = (Pair(16, "cifar", "shufflenet_v1_g3_x0_25", "mobilenet_v1_x0_25"),)


def draw_gratings(
    root: Path, count: int, *, classes: int = 3, noise: float = 25.0, wrong: float = 0.0, seed: int = 0
) -> Path:
    """Stripes under noise, a class an angle; a part of the labels is drawn by lot."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    for label in range(classes):
        angle = np.pi * label / classes
        for number in range(count):
            said = random.integers(classes) if random.random() < wrong else label
            along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / 6 + random.uniform(0, 2 * np.pi)
            pixels = 128 + 40 * np.sin(along)[..., None] + random.normal(0, noise, (16, 16, 3))
            path = root / f"angle {said}" / f"{label}-{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return root


def draw_patterns(root: Path, each: int, *, seed: int) -> Path:
    """Three classes of twelve patterns each, shifted, under noise: who has not seen a pattern cannot know it."""
    patterns = np.random.default_rng(7).uniform(40, 215, (3, 12, 4, 4, 3)).repeat(4, axis=2).repeat(4, axis=3)
    random = np.random.default_rng(seed)
    for label, kind, number in np.ndindex(3, 12, each):
        shifted = np.roll(patterns[label, kind], random.integers(0, 16, 2), axis=(0, 1))
        path = root / f"class {label}" / f"{kind}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = shifted + random.normal(0, 30, shifted.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
    return root


def look(folder: Path) -> Checked:
    survey = survey_data(folder)
    return Checked(survey, *look_at(survey), 32)


def ask(data: Path, *, labels: bool = False) -> Enough:
    """Asks once."""
    doubts = list(featherlight.check(data, labels=True, labels_time="10m", device="cpu")) if labels else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enough, "MAX_REPEATS", 1)
        return find_enough(look(data), 1e6, "cpu", doubts, TINY)


def hold_out(checked: Checked, repeat: int) -> tuple[set[str], set[str]]:
    """Names of the images that are held out and of those that are trained on."""
    images = read_checked(checked, enough._usable(checked), 16)
    paths = np.array([Path(checked.survey.images.paths[place]).as_posix() for place in images.positions])
    held_out, trained = enough._hold_out(checked, images, repeat)
    return set(paths[held_out].tolist()), set(paths[trained].tolist())


@pytest.mark.slow
def test_too_few_images_ask_for_more(tmp_path: Path) -> None:
    draw_patterns(tmp_path / "train", 2, seed=0)
    draw_patterns(tmp_path / "val", 4, seed=1)
    found = ask(tmp_path)
    assert found.answer == "more_photos"
    assert found.sentence.startswith("More photos")
    small = found.curves[0]
    assert small.points[0].accuracy < small.points[2].accuracy < small.forecast.accuracy
    assert small.points[2].train_accuracy > small.points[2].accuracy + 0.1


@pytest.mark.slow
def test_wrong_labels_ask_for_cleaning(tmp_path: Path) -> None:
    """A third of the labels are drawn by lot of three, so that two ninths are wrong; no network can name those."""
    pytest.importorskip("cleanlab")
    draw_gratings(tmp_path / "train", 30, noise=5, wrong=1 / 3, seed=0)
    draw_gratings(tmp_path / "val", 60, noise=5, wrong=1 / 3, seed=1)
    found = ask(tmp_path, labels=True)
    assert found.answer == "cleaner_labels"
    gain = found.gains["cleaner_labels"]
    assert gain is not None
    assert 0.1 < gain.gain < 0.3


def test_short_time_is_kept_and_says_how_much_is_needed(tmp_path: Path) -> None:
    found = find_enough(look(draw_gratings(tmp_path / "data", 12, classes=2)), 0.01, "cpu", pairs=TINY)
    assert (found.answer, found.repeats, found.epochs) == ("unknown", 1, 1)
    assert "% of the usual training; give about --time" in found.sentence
    assert [curve.network for curve in found.curves] == ["shufflenet_v1_g3_x0_25", "mobilenet_v1_x0_25"]
    sizes = [[point.images for point in curve.points] for curve in found.curves]
    assert sizes[0] == sizes[1]
    assert sizes[0][2] == pytest.approx(4 * sizes[0][0], abs=3)
    assert all(curve.macs > 0 and curve.params > 0 for curve in found.curves)


def test_training_that_goes_slower_than_measured_ends_soon_after_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that gets other work."""
    monkeypatch.setattr(enough, "images_per_s", lambda *_: 1e6)
    monkeypatch.setattr(enough, "LATE_S", 0.0)
    data = look(draw_gratings(tmp_path / "data", 12, classes=2))
    found = find_enough(data, 0.4, "cpu", pairs=TINY)
    assert (found.answer, found.curves, found.repeats) == ("unknown", (), 0)
    assert re.search(r"goes slowly here now; give about --time \d+m\.", found.sentence)


def test_answer_is_in_json_page_and_summary(
    tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enough, "PAIRS", TINY)
    data = draw_gratings(tmp_path / "data", 12, classes=2)
    answer = cli("check", data, "--enough", "--time", "0.1s", "--out", tmp_path / "out", "--device", "cpu")
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert found["enough"]["answer"] == "unknown"
    assert set(found["enough"]["gains"]) == {"more_photos", "bigger_network", "cleaner_labels"}
    assert found["enough"]["gains"]["cleaner_labels"] is None
    page = (tmp_path / "out" / "check.html").read_text()
    assert "Is it the data or the network?" in page
    assert page.count('class="chart lines"') == 1
    assert found["enough"]["sentence"] in answer.out


def test_check_that_was_not_asked_says_nothing_of_it(tmp_path: Path, cli: Callable[..., Any]) -> None:
    data = draw_gratings(tmp_path / "data", 3, classes=2)
    answer = cli("check", data, "--json")
    assert "enough" not in json.loads(answer.out)
    answer = cli("check", data, "--time", "5m")
    assert answer.code == 2
    assert "--time goes with --enough" in answer.err


def test_few_images_are_an_answer_without_training(tmp_path: Path) -> None:
    found = find_enough(look(draw_gratings(tmp_path / "data", 8, classes=2)), 60, "cpu")
    assert found.answer == "more_photos"
    assert found.curves == ()
    assert "at least two classes of 10 images are needed" in found.sentence


def test_each_repeat_holds_out_other_images_and_never_those_of_test(tmp_path: Path) -> None:
    data = draw_gratings(tmp_path / "data", 20, classes=2)
    checked = look(data)
    parts = [hold_out(checked, repeat) for repeat in range(FOLDS)]
    seen = [path for held_out, _ in parts for path in held_out]
    assert len(seen) == len(set(seen))
    assert all(not held_out & trained and held_out | trained == set(seen) for held_out, trained in parts)
    test = {
        Path(path).as_posix()
        for path, split in zip(checked.survey.images.paths, checked.splits, strict=True)
        if split == 2
    }
    assert len(test) + len(seen) == 40
    assert not test & set(seen)


def test_copies_of_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    data = draw_gratings(tmp_path / "data", 20, classes=2)
    for number in range(10):
        shutil.copy(data / "angle 0" / f"0-{number:03}.png", data / "angle 0" / f"copy-{number}.png")
    for repeat in range(FOLDS):
        held_out, trained = hold_out(look(data), repeat)
        names = [{Path(path).name.replace("copy-", "0-00") for path in paths} for paths in (held_out, trained)]
        assert not {name for name in names[0] if name.startswith("0-00")} & names[1]


def test_given_validation_images_are_those_held_out(tmp_path: Path) -> None:
    draw_gratings(tmp_path / "data" / "train", 20, classes=2)
    draw_gratings(tmp_path / "data" / "val", 5, classes=2, seed=1)
    for repeat in (0, 1):
        held_out, trained = hold_out(look(tmp_path / "data"), repeat)
        assert len(held_out) == 10
        assert len(trained) == 40
        assert all("/val/" in path for path in held_out)


@pytest.mark.parametrize(("budget_s", "size"), [(1e-3, 32), (1e9, 128)])
def test_time_decides_how_large_images_are_and_both_networks_train_alike(
    tmp_path: Path, budget_s: float, size: int
) -> None:
    checked = look(draw_gratings(tmp_path / "data", 10, classes=2))
    checked.facts.sizes[:] = 500
    plan = enough._plan(checked, np.arange(20), time.monotonic() + budget_s, "cpu", PAIRS)
    small, large = plan.recipes
    assert small.input_size == large.input_size == size
    assert small.epochs == large.epochs
    assert small.batch_size == large.batch_size
    assert (small.epochs < plan.usual_epochs) == (budget_s < 1)


def test_damaged_duration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no duration"):
        featherlight.check(tmp_path, enough=True, time="soon")
