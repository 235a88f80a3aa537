from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import featherlight
from featherlight.sources.findings import Checked
from featherlight.sources.findings.survey import look_at, survey_data
from featherlight.workflows.label_errors import (
    FOLDS,
    _choose_recipe,
    _fitting,
    _is_learned,
    _tell,
    _usable,
)
from featherlight.workflows.small_networks import CheckedImages, read_checked

pytest.importorskip("cleanlab")
Paint = Callable[[Path, str, int], Path]
COLOURS = ("blue", "green", "red")


@pytest.fixture
def colours(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """A folder a colour."""

    def write(**counts: int) -> Path:
        for name, count in counts.items():
            for k in range(count):
                paint(tmp_path / "data" / name / f"{k:02}.png", name, k)
        return tmp_path / "data"

    return write


def look(folder: Path) -> Checked:
    survey = survey_data(folder)
    return Checked(survey, *look_at(survey), 32)


@pytest.mark.slow
def test_wrong_labels_are_found_and_told_first(colours: Callable[..., Path], paint: Paint) -> None:
    data = colours(blue=30, green=30, red=30)
    wrong = {}
    for k, (shown, said) in enumerate((("blue", "red"), ("green", "blue"), ("red", "green"), ("red", "blue"))):
        wrong[str(paint(data / said / f"wrong {k}.png", shown, 100 + k))] = (said, shown)
    findings = featherlight.check(data, labels=True, labels_time="90s", device="cpu")
    told = [finding for finding in findings if finding.kind == "label_error"]
    assert {f.paths[0]: (f.suggestion.label, f.suggestion.suggested) for f in told[: len(wrong)]} == wrong
    assert len(told) <= len(wrong) + 2
    assert [f.harm for f in told] == sorted((f.harm for f in told), reverse=True)
    assert all(f.suggestion.probability > 0.5 for f in told[: len(wrong)])


def test_doubts_become_findings_the_least_believed_label_first(colours: Callable[..., Path]) -> None:
    checked = look(colours(blue=20, green=20))
    labels = checked.survey.images.labels
    believed = np.full((40, 2), 0.05)
    believed[np.arange(40), labels] = 0.95
    for place, doubt in ((3, 0.99), (7, 0.97), (25, 0.98), (30, 0.98)):  # the last was judged without having learned
        believed[place, labels[place]], believed[place, 1 - labels[place]] = 1 - doubt, doubt
    images = CheckedImages(torch.zeros(0), labels, np.arange(2), np.arange(40), np.arange(40))
    told = _tell(checked, images, believed, np.arange(40) != 30)
    names = ["blue/03.png", "green/05.png", "blue/07.png"]
    assert [f.paths for f in told] == [(str(Path(checked.survey.name) / name),) for name in names]
    assert [f.suggestion.suggested for f in told] == ["green", "blue", "green"]
    assert [round(f.suggestion.probability, 2) for f in told] == [0.99, 0.98, 0.97]
    assert "is labelled blue, but looks like green (99%)" in told[0].message


def test_small_classes_and_unreadable_images_take_no_part(colours: Callable[..., Path]) -> None:
    data = colours(blue=12, green=12, red=9)
    (data / "blue/00.png").write_bytes(b"")
    checked = look(data)
    positions = _usable(checked)
    assert {checked.class_of(position) for position in positions} == {"blue", "green"}
    images = read_checked(checked, positions, 32)
    assert len(images.labels) == len(images.pixels) == 23
    assert images.classes.tolist() == [0, 1]


def test_copies_are_judged_by_networks_that_saw_neither(colours: Callable[..., Path]) -> None:
    data = colours(blue=12, green=12)
    shutil.copy(data / "blue/00.png", data / "green/copy.png")
    checked = look(data)
    images = read_checked(checked, _usable(checked), 32)
    paths = [Path(checked.survey.images.paths[k]).name for k in images.positions]
    assert images.roots[paths.index("00.png")] == images.roots[paths.index("copy.png")]
    assert len(set(images.roots.tolist())) == 24


def test_class_that_hangs_together_is_not_doubted_as_a_whole() -> None:
    labels = np.repeat([0, 1, 2], 12)
    folds = np.where(labels == 2, 3, np.arange(36) % FOLDS)
    assert _is_learned(labels, folds).tolist() == [True] * 24 + [False] * 12


def test_one_large_class_is_not_enough(colours: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    data = colours(blue=12, green=3)
    findings = featherlight.check(data, labels=True, labels_time="1s")
    assert "label_error" not in {finding.kind for finding in findings}
    assert "too few images to look for wrong labels" in capsys.readouterr().err


@pytest.mark.parametrize(("budget_s", "ruled_by_time"), [(1e-3, True), (1e9, False)])
def test_time_rules_only_where_it_is_short(
    colours: Callable[..., Path], budget_s: float, ruled_by_time: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = look(colours(blue=12, green=12))
    recipe = _choose_recipe(checked, _usable(checked), budget_s, "cpu")
    assert (recipe.time_s > 0, recipe.epochs == 0) == (ruled_by_time, ruled_by_time)
    assert ("the usual length would be" in capsys.readouterr().err) == ruled_by_time


def test_short_time_takes_the_smallest_network_that_fits(colours: Callable[..., Path]) -> None:
    checked = look(colours(blue=10, green=10))
    checked.facts.sizes[:] = 500
    assert _choose_recipe(checked, np.arange(20), 1e-3, "cpu").input_size == 32
    assert _choose_recipe(checked, np.arange(20), 1e9, "cpu").input_size == 128


@pytest.mark.parametrize(
    ("side", "sizes"), [(8, [32]), (32, [32]), (49, [32]), (50, [64, 32]), (98, [64, 32]), (99, [128, 64, 32])]
)
def test_networks_see_no_more_than_there_is(colours: Callable[..., Path], side: int, sizes: list[int]) -> None:
    checked = look(colours(blue=10, green=10))
    checked.facts.sizes[:] = side
    assert [choice.input_size for choice in _fitting(checked, np.arange(20))] == sizes


def test_networks_that_know_nothing_doubt_nothing(
    colours: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = colours(blue=30, green=30, red=30)
    for k, path in enumerate(sorted(data.rglob("*.png"))):  # labels that no image tells
        (data / COLOURS[k % 3]).mkdir(exist_ok=True)
        path.rename(data / COLOURS[k % 3] / f"moved {k}.png")
    findings = featherlight.check(data, labels=True, labels_time="2s", device="cpu")
    assert "label_error" not in {finding.kind for finding in findings}
    assert "they know too little to doubt labels" in capsys.readouterr().err
