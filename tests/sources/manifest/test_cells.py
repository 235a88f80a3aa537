from __future__ import annotations

import decimal
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherlight.errors import DataError
from featherlight.sources.manifest.cells import Rows, join_rows, read_rows
from featherlight.sources.manifest.columns import find_roles
from featherlight.sources.manifest.table import Table


def read(**columns: list[Any]) -> Rows:
    count = max(map(len, columns.values()))
    columns = {"path": ["a.jpg"] * count, "label": ["cat"] * count, **columns}
    table = Table(Path("m.parquet"), tuple(columns), columns)
    return read_rows(table, find_roles(table, None))


def refusal(**columns: list[Any]) -> str:
    with pytest.raises(DataError) as error:
        read(**columns)
    return str(error.value)


def test_numbers_and_texts_are_labels() -> None:
    labels = read(label=["cat", " dog ", "007", 7, 7.0, -1, True, "3.0", "None"]).labels
    assert labels == ["cat", "dog", "007", "7", "7", "-1", "true", "3.0", "None"]


@pytest.mark.parametrize("label", [None, math.nan, "", "  "])
def test_missing_label_is_named_and_others_counted(label: object) -> None:
    found = refusal(label=["cat", label, "dog", label, label])
    assert found == "m.parquet, row 2: column 'label': no label; give one or remove the row (and so in 2 more rows)"


@pytest.mark.parametrize("label", [0.37, math.inf, [1, 2], {"a": 1}, b"cat", decimal.Decimal(1)])
def test_what_is_no_label_is_shown(label: object) -> None:
    expected = f"m.parquet, row 1: column 'label': {label!r} is neither a text nor a whole number"
    assert refusal(label=[label]) == expected


@pytest.mark.parametrize("path", [None, "", " ", 3, math.nan, ["a.jpg"], {"bytes": b""}])
def test_missing_path_is_named(path: object) -> None:
    assert refusal(path=[path]).endswith(f"column 'path': {path!r} is no path; name the image or remove the row")


@pytest.mark.parametrize(
    "path", ["file:///etc/passwd", "FILE://x", "s3://bucket/a.jpg", "ftp://host/a.jpg", "x" + "://"]
)
def test_other_schemes_are_refused(path: str) -> None:
    assert "images are read from files, and from http:// and https:// addresses" in refusal(path=[path])


def test_paths_stay_as_they_are() -> None:
    paths = [" a.jpg", "~/a.jpg", "a\nb.jpg", "C:\\a.jpg", "http://x/a.jpg", "HTTPS://x/a.jpg", "a:b.jpg"]
    assert read(path=paths).paths == paths


def test_words_for_splits() -> None:
    words = ["train", "Training", " VAL ", "valid", "validation", "test", "testing"]
    assert read(split=words).splits == ["train", "train", "val", "val", "val", "test", "test"]


@pytest.mark.parametrize("word", ["", None, "holdout", 0, math.nan, "train,val", ["train"]])
def test_unknown_split_is_shown(word: object) -> None:
    found = refusal(split=["train", word])
    expected = f"m.parquet, row 2: column 'split': {word!r} is no split; write train, val or test in each row"
    assert found == expected


def test_weights_are_numbers_or_texts_of_numbers() -> None:
    weights = read(weight=[1, 0.5, "2.5", " 1e-3 "]).weights
    assert weights is not None
    np.testing.assert_array_equal(weights, np.array([1, 0.5, 2.5, 1e-3], np.float32))


@pytest.mark.parametrize("weight", [-1, 0, "0", math.nan, math.inf, None, "", "heavy", 1e60, 1e-60, [1]])
def test_what_is_no_weight_is_shown(weight: object) -> None:
    found = refusal(weight=[1, weight])
    assert found.startswith(f"m.parquet, row 2: column 'weight': {weight!r} is no weight; write a positive number")


def test_groups_may_be_missing() -> None:
    assert read(group=["anna", None, " ", 3, 3.0, math.nan]).groups == ["anna", "", "", "3", "3", ""]


def test_long_cells_are_cut_in_messages() -> None:
    assert len(refusal(weight=["x" * 10_000])) < 200


def test_several_manifests_become_one() -> None:
    one = Rows(["a"], ["x"], weights=np.array([2], np.float32))
    other = Rows(["b", "c"], ["y", "x"], groups=["g", ""])
    joined = join_rows({"train": other, "val": one})
    assert (joined.paths, joined.labels) == (["b", "c", "a"], ["y", "x", "x"])
    assert joined.splits == ["train", "train", "val"]
    assert joined.weights is not None
    assert joined.weights.tolist() == [1, 1, 2]
    assert joined.groups == ["g", "", ""]
    assert join_rows({"train": Rows(["a"], ["x"])}) == Rows(["a"], ["x"], ["train"])
