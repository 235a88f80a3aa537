from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featherlight.sources.findings import Finding

Names = Callable[[Finding], list[str]]


@pytest.fixture
def counts(photo) -> Callable[..., None]:
    """Writes so many images a class, into ``train/`` and ``val/``."""

    def write(val: int = 2, **train: int) -> None:
        seed = 0
        for name, number in train.items():
            for k in range(number + val):
                photo(f"{'train' if k < number else 'val'}/{name}/{k}.png", seed)
                seed += 1

    return write


def test_equal_classes_have_no_findings(counts, found) -> None:
    counts(cat=25, dog=25)
    assert found("imbalance", "small_class", "missing_class", "layout") == []


@pytest.mark.parametrize(("dogs", "severity"), [(20, "note"), (6, "warning")])
def test_unequal_classes_are_told(counts, found, names: Names, dogs: int, severity: str) -> None:
    counts(cat=60, dog=dogs)
    (finding,) = found("imbalance")
    assert (finding.severity, finding.classes) == (severity, ("cat", "dog"))
    assert names(finding) == ["train/cat", "train/dog"]
    assert f"(60 and {dogs})" in finding.message


def test_slightly_unequal_classes_are_not(counts, found) -> None:
    counts(cat=50, dog=20)
    assert found("imbalance") == []


def test_small_classes_are_told(counts, found, names: Names) -> None:
    counts(cat=25, dog=5, fish=7)
    (finding,) = found("small_class")
    assert (finding.severity, finding.classes, names(finding)) == (
        "warning",
        ("dog", "fish"),
        ["train/dog", "train/fish"],
    )
    assert finding.message == "2 classes have fewer than 20 training images: 'dog', 'fish'; the smallest has 5"


def test_unreadable_images_do_not_count(counts, found, tmp_path: Path) -> None:
    counts(cat=22, dog=22)
    for k in range(5):
        (tmp_path / f"data/train/dog/{k}.png").write_bytes(b"")
    assert found("small_class")[0].classes == ("dog",)


def test_many_classes_are_one_finding_with_a_short_message(photo, found) -> None:
    for k in range(60):
        photo(f"train/class {k:02}/1.png", k, width=9, height=9)
        if k >= 30:
            photo(f"val/class {k:02}/1.png", 100 + k, width=9, height=9)
    small, missing = found("small_class")[0], found("missing_class")[0]
    assert len(small.classes) == 60
    assert len(missing.classes) == 30
    assert "'class 00', 'class 01', 'class 02', 'class 03', 'class 04' and 25 more" in missing.message
