from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featherlight.sources.findings import Finding
from featherlight.sources.findings.copies import stars

Names = Callable[[Finding], list[str]]
KINDS = ("leak", "label_conflict", "duplicate", "near_duplicate")
SPLIT = ("train/a", "train/b", "val/a", "val/b")
FLAT = ("a", "b", "c")


@pytest.fixture(params=["flat", "split"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _images(photo, layout: str) -> None:
    for k, folder in enumerate(SPLIT if layout == "split" else FLAT):
        for seed in range(5):
            photo(f"{folder}/{seed}.png", 10 * k + seed)


def smaller(source: Path, target: Path) -> None:
    image = Image.open(source)
    image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BICUBIC).save(target)


def test_different_images_have_no_findings(found) -> None:
    assert found(*KINDS) == []


@pytest.mark.parametrize("layout", ["flat"], indirect=True)
class TestWithoutSplits:
    def test_copy_in_a_class_is_a_duplicate_whatever_its_format(self, found, names: Names, tmp_path: Path) -> None:
        Image.open(tmp_path / "data/a/0.png").save(tmp_path / "data/a/same pixels.bmp")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity) == ("duplicate", "warning")
        assert names(finding) == ["a/0.png", "a/same pixels.bmp"]

    def test_copy_in_two_classes_is_a_conflict(self, found, names: Names, tmp_path: Path) -> None:
        shutil.copy(tmp_path / "data/a/0.png", tmp_path / "data/b/copy.png")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity) == ("label_conflict", "error")
        assert names(finding) == ["a/0.png", "b/copy.png"]
        assert "classes a and b" in finding.message

    def test_near_copy_in_two_classes_may_be_right(self, found, names: Names, tmp_path: Path) -> None:
        smaller(tmp_path / "data/a/0.png", tmp_path / "data/b/copy.png")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity, names(finding)) == (
            "label_conflict",
            "warning",
            ["a/0.png", "b/copy.png"],
        )

    def test_near_copy_in_a_class_is_a_note(self, found, names: Names, tmp_path: Path) -> None:
        smaller(tmp_path / "data/a/0.png", tmp_path / "data/a/copy.png")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity, names(finding)) == ("near_duplicate", "note", ["a/0.png", "a/copy.png"])

    def test_three_copies_are_one_finding(self, found, names: Names, tmp_path: Path) -> None:
        for k in range(2):
            shutil.copy(tmp_path / "data/a/0.png", tmp_path / f"data/a/copy{k}.png")
        (finding,) = found(*KINDS)
        assert names(finding) == ["a/0.png", "a/copy0.png", "a/copy1.png"]


@pytest.mark.parametrize("layout", ["split"], indirect=True)
class TestWithSplits:
    def test_copy_on_both_sides_is_a_leak(self, found, names: Names, tmp_path: Path) -> None:
        shutil.copy(tmp_path / "data/train/a/0.png", tmp_path / "data/val/a/copy.png")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity) == ("leak", "error")
        assert names(finding) == ["val/a/copy.png", "train/a/0.png"]

    def test_near_copy_on_both_sides_is_a_warning(self, found, names: Names, tmp_path: Path) -> None:
        smaller(tmp_path / "data/train/a/0.png", tmp_path / "data/val/a/copy.png")
        (finding,) = found(*KINDS)
        assert (finding.kind, finding.severity) == ("leak", "warning")
        assert names(finding) == ["val/a/copy.png", "train/a/0.png"]

    def test_copy_of_another_class_on_the_other_side_is_both(self, found, tmp_path: Path) -> None:
        shutil.copy(tmp_path / "data/train/a/0.png", tmp_path / "data/val/b/copy.png")
        assert [(f.kind, f.severity) for f in found(*KINDS)] == [("leak", "error"), ("label_conflict", "error")]

    def test_near_copy_of_an_exact_copy_is_seen_on_every_side(self, found, names: Names, tmp_path: Path) -> None:
        shutil.copy(tmp_path / "data/train/a/0.png", tmp_path / "data/val/a/copy.png")
        smaller(tmp_path / "data/train/a/0.png", tmp_path / "data/train/a/small.png")
        near = [f for f in found("leak") if f.severity == "warning"]
        assert [names(f) for f in near] == [["val/a/copy.png", "train/a/small.png"]]

    def test_image_in_no_class_leaks_nothing(self, found, tmp_path: Path) -> None:
        shutil.copy(tmp_path / "data/val/a/0.png", tmp_path / "data/train/loose.png")
        assert [f.kind for f in found(*KINDS)] == ["duplicate"]

    def test_group_on_both_sides_is_a_leak_where_it_is_told(self, found, names: Names) -> None:
        assert found("leak", group_by=r"(\d)\.png$")[0].kind == "leak"
        leaks = found("leak", group_by=r"(\d)\.png$")
        assert {f.severity for f in leaks} == {"warning"}
        assert len(leaks) == 5
        assert names(leaks[0])[:2] == ["val/a/0.png", "val/b/0.png"]
        assert found("leak", group_by=r"(train|val)/") == []


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda edge: edge[0] != edge[1]), max_size=40))
def test_stars_hold_every_image_and_only_true_pairs(edges: list[tuple[int, int]]) -> None:
    found = stars(edges)
    paired = {frozenset(edge) for edge in edges}
    assert all(frozenset((centre, other)) in paired for centre, *others in found for other in others)
    assert {place for star in found for place in star} == {place for edge in edges for place in edge}
    assert all(len(star) == len(set(star)) > 1 for star in found)
    centres = [star[0] for star in found]
    assert len(centres) == len(set(centres))


def test_chain_is_not_told_as_one_picture() -> None:
    assert stars([(0, 1), (1, 2), (2, 3)]) == [[0, 1], [2, 3]]
    assert stars([(0, 1), (1, 2)]) == [[0, 1], [2, 1]]
    assert stars(np.zeros((0, 2), int).tolist()) == []
