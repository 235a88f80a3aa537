from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from featherlight.errors import DataError
from featherlight.sources.arrays import array_split
from featherlight.sources.base import Source, SplitName
from featherlight.sources.labelled import Part, labelled_source, split_in_name

Labels = Sequence[str | None]


def part(labels: Labels, seed: int = 0) -> Part:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 8, 8, 3), np.uint8)
    paths = tuple(f"x/{seed}/{k:03}" for k in range(len(labels)))
    return Part(paths, labels, array_split(pixels, np.zeros(len(labels), np.int64), paths).read)


def source(labels: dict[SplitName | None, Labels], names: list[str] | None = None, *, as_it_is: bool = False) -> Source:
    parts = {split: part(values, seed) for seed, (split, values) in enumerate(labels.items())}
    return labelled_source("x", parts, names, root="x", as_it_is=as_it_is)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-0000.tar", "train"), ("imagenet1k-validation-00.tar", "val"), ("TEST.tar", "test"), ("dev", "val"),
        ("training_02", "train"), ("trainval-0", None), ("train-test-0", None), ("0000.tar", None), ("restrain", None),
    ],
)  # fmt: skip
def test_split_is_told_by_a_word_of_the_name(name: str, split: str | None) -> None:
    assert split_in_name(name) == split


def test_numbers_count_into_the_names_in_their_order() -> None:
    found = source({"train": ["2", "0", "2", "0"], "val": ["0", "2"]}, ["owl", "unused", "ape"])
    assert found.classes == ("owl", "ape")
    assert found.splits["train"].labels.tolist() == [1, 0, 1, 0]
    assert found.splits["val"].labels.tolist() == [0, 1]


def test_names_keep_their_order_where_labels_are_texts() -> None:
    assert source({"train": ["b", "a"], "val": ["a"]}, ["c", "b", "a"]).classes == ("b", "a")


def test_numbers_without_names_are_sorted_as_numbers() -> None:
    assert source({"train": ["10", "9", "2"], "val": ["9"]}).classes == ("2", "9", "10")
    assert source({"train": ["10", "9", "x"], "val": ["9"]}).classes == ("10", "9", "x")


def test_images_without_a_label_are_named_and_left_out() -> None:
    found = source({"train": ["a", None, "b"], "val": ["a", "b"]})
    assert [found.splits["train"].paths, found.splits["train"].labels.tolist()] == [("x/0/000", "x/0/002"), [0, 1]]
    assert found.unreadable == (("x/0/001", "no label"),)


def test_split_without_any_label_is_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = source({"train": ["a", "b"], "val": ["a", "b"], "test": [None, None, None]})
    assert list(found.splits) == ["train", "val"]
    assert found.unreadable == ()
    assert "none of the 3 test images has a label" in capsys.readouterr().err


def test_what_is_not_split_is_cut_by_hash() -> None:
    found = source({None: ["a", "b"] * 100})
    assert list(found.splits) == ["train", "val", "test"] == list(found.own_splits)
    assert sorted(path for split in found.splits.values() for path in split.paths) == list(part(["a"] * 200).paths)


def test_missing_validation_is_cut_off_train() -> None:
    found = source({"train": ["a", "b"] * 50, "test": ["a", "b"] * 50})
    assert found.own_splits == ("train", "val")
    assert len(found.splits["train"]) + len(found.splits["val"]) == len(found.splits["test"]) == 100


def test_as_it_is_nothing_is_cut_and_one_class_will_do() -> None:
    assert {split: len(images) for split, images in source({None: ["a"] * 3}, as_it_is=True).splits.items()} == {
        "test": 3
    }
    assert list(source({"train": ["a"], "test": ["b"]}, as_it_is=True).splits) == ["train", "test"]
    assert list(source({"test": ["b"]}, as_it_is=True).splits) == ["test"]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ({"train": ["a", "a"], "val": ["a"]}, None, "only one class, 'a'"),
        ({"train": [None, None]}, None, "not one image with a label"),
        ({"test": ["a", "b"]}, None, "has test, but no train images"),
        ({"train": ["a", "b"], "val": ["c"]}, None, "val or test has classes that train does not have: 'c'"),
        ({"train": ["0", "2"], "val": ["0"]}, ["a", "b"], "the label '2' is none of its 2 class names"),
        ({"train": ["a", "x"], "val": ["a"]}, ["a", "b"], "the label 'x' is none of its 2 class names"),
        ({"train": ["0", "1"], "val": ["0"]}, ["a", "a"], "two of its 2 class names are the same"),
        ({"train": [f"a {k}" for k in range(40)], "val": ["a 1"]}, None, "41 images have 40 different labels"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_trained_on_are_refused(
    labels: dict[SplitName | None, Labels], names: list[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        source(labels, names)
