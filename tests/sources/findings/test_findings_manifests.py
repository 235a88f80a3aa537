from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from featherlight.sources import open_source
from featherlight.sources.findings.survey import survey_data


@pytest.fixture
def manifest(photo, tmp_path: Path) -> Callable[..., Path]:
    """Writes images and a manifest with these columns more than path and label."""

    def write(count: int = 60, **columns: Sequence[object]) -> Path:
        target = tmp_path / "list.csv"
        with target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", *columns])
            for seed in range(count):
                path = photo(f"{seed}.png", seed)
                writer.writerow([path, "ab"[seed % 2], *(values[seed % len(values)] for values in columns.values())])
        return target

    return write


def test_manifest_without_splits_is_split_as_training_splits_it(manifest, checked) -> None:
    looked = checked(data=manifest().name)
    source = open_source(looked.survey.name)
    assert looked.survey.sides.tolist() == [0] * 60
    for place, split in enumerate(("train", "val", "test")):
        assert set(looked.paths(np.flatnonzero(looked.splits == place))) == set(source.splits[split].paths)


def test_splits_weights_and_groups_of_a_manifest_are_taken_over(manifest) -> None:
    target = manifest(split=["train", "train", "val", "val"], weight=[2], group=["x", "y"])
    survey = survey_data(str(target))
    assert survey.is_split
    assert np.bincount(survey.sides).tolist() == [30, 30]
    assert set(survey.images.weights.tolist()) == {2.0}
    assert set(survey.images.groups) == {"x", "y"}


def test_groups_on_both_sides_are_a_leak(manifest, found) -> None:
    target = manifest(split=["train", "train", "val", "val"], group=["x", "y"])
    assert [f.kind for f in found("leak", data=target.name)] == ["leak", "leak"]


def test_what_training_refuses_is_a_finding(manifest, found) -> None:
    target = manifest(split=["test"])
    (finding,) = [f for f in found("layout", data=target.name) if "train" in f.message]
    assert finding.severity == "error"
    assert "no row is in the train split" in finding.message


def test_absent_files_are_unreadable(manifest, found, tmp_path: Path) -> None:
    target = manifest()
    (tmp_path / "data/7.png").unlink()
    assert [f.paths for f in found("unreadable", data=target.name)] == [(str(tmp_path / "data/7.png"),)]
