from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from featherlight.sources import open_source
from featherlight.sources.findings.survey import survey_data
from shard_files import samples, write_splits, write_table, write_tar


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


def test_shards_are_looked_at(found, checked, tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "shards", {"train": 24, "val": 6})
    leaked = next(samples(1, 3))
    write_tar(
        folder / "test-0000.tar", [("copy.png", leaked["png"]), ("copy.cls", b"0"), ("cut.png", b""), ("cut.cls", b"1")]
    )
    assert checked(data="shards").counts().sum(axis=0).tolist() == [24, 6, 1]
    (leak,) = [f for f in found("leak", data="shards") if f.severity == "error"]
    assert [Path(path).name for path in leak.paths] == ["copy.png", "000003.png"]
    assert [Path(f.paths[0]).name for f in found("empty", data="shards")] == ["cut.png"]


def test_hugging_face_tables_are_looked_at(found, checked, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = write_table(24)
    broken = table.select([0]).map(lambda row: {"image": {"bytes": b"", "path": None}})
    parts = {"train": table, "test": datasets.concatenate_datasets([write_table(3, 0), broken])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    assert checked(data="saved").survey.sides.tolist() == [0] * 24 + [2] * 4
    assert len([f for f in found("leak", data="saved") if f.severity == "error"]) == 3
    assert len(found("unreadable", data="saved")) == 1
