from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.sources.findings import Finding
from featherlight.sources.findings.likeness import compare_groups
from featherlight.sources.grouping import group_names

Found = Callable[..., list[Finding]]


@pytest.fixture
def shots(tmp_path: Path, scene) -> Callable[..., None]:
    """Writes images; those of one group share a background, if groups are alike."""

    def write(names: list[tuple[str, int]], alike: bool = True) -> None:
        for seed, (name, group) in enumerate(names):
            own = scene(seed, 40, 40)
            image = Image.blend(scene(10_000 + group, 40, 40), own, 0.5) if alike else own
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)

    return write


NAMED = {
    "folders": lambda k, group: f"{'ab'[group % 2]}/video {group}/{k}.png",
    "two numbers": lambda k, group: f"{'ab'[group % 2]}/cat_{group:02}_frame{k}.png",
    "prefixes": lambda k, group: f"{'ab'[group % 2]}/person{'ABCDEFGHIJ'[group]}_{k:03}.png",
    "first parts": lambda k, group: f"{'ab'[group % 2]}/p{group:02}_view-{'abcdefgh'[k]}.png",
}


@pytest.mark.parametrize("name", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize(("alike", "severity"), [(True, "warning"), (False, "note")])
def test_names_that_tell_groups_are_pointed_out(
    shots, found: Found, name: Callable[[int, int], str], alike: bool, severity: str
) -> None:
    shots([(name(k, group), group) for group in range(10) for k in range(8)], alike)
    (finding,) = found("group")
    assert finding.severity == severity
    assert "suggest 10 groups" in finding.message
    pattern = re.search(r"--group-by '(.*)'", finding.message)[1]
    groups = group_names([name(k, group) for group in range(10) for k in range(8)], pattern)
    assert len(set(groups)) == 10
    assert all(len(set(groups[8 * group : 8 * group + 8])) == 1 for group in range(10))
    assert found("group", group_by=pattern) == []


def test_counter_of_a_camera_is_pointed_out_where_neighbours_look_alike(shots, found: Found) -> None:
    names = [(f"{k % 10}/IMG_{1000 + k}.png", k // 10) for k in range(400)]  # each person shows ten signs
    shots(names)
    (finding,) = found("group")
    assert finding.severity == "warning"
    assert r"--group-by '(\d+)\d\D*$'" in finding.message
    assert "suggest 40 groups" in finding.message


def test_names_that_looks_confirm_win(shots, found: Found) -> None:
    names = [(f"{k % 4}/{'uvwxyzst'[k % 8]}{k % 3}_IMG{1000 + k}.png", k // 10) for k in range(400)]
    shots(names)
    (finding,) = found("group")
    assert finding.severity == "warning"
    assert "the numbers of a camera" in finding.message


UNGROUPED = {
    "counters": lambda k: f"{k % 4}/IMG_{1000 + k}.png",
    "counters a class": lambda k: f"{k % 4}/{k // 4:04}.png",
    "class names": lambda k: f"{k % 4}/{'abcd'[k % 4]}_{k}.png",
    "one prefix": lambda k: f"{k % 4}/photo-{k}.png",
    "two sources": lambda k: f"{k % 4}/{'web' if k % 3 else 'own'}_{k}.png",
    "addresses": lambda k: f"{k % 4}/{1_000_003 * k % 99991:05}_{7919 * k % 65537:x}_n.png",
}


@pytest.mark.parametrize("name", UNGROUPED.values(), ids=UNGROUPED.keys())
def test_names_that_tell_no_groups_are_left_alone(shots, found: Found, name: Callable[[int], str]) -> None:
    shots([(name(k), 0) for k in range(320)], alike=False)
    assert found("group") == []


def test_torn_groups_are_counted(shots, found: Found) -> None:
    names = [
        (f"{'train' if k < 4 else 'val'}/{'ab'[group % 2]}/cat_{group:02}_{k}.png", group)
        for group in range(8)
        for k in range(6)
    ]
    shots(names)
    assert "8 of them have images in more than one split" in found("group")[0].message


def test_likeness_is_sure_only_of_what_is_there() -> None:
    rng = np.random.default_rng(0)
    groups, labels = np.repeat(np.arange(30), 5), np.arange(150) % 3
    scenes = rng.integers(0, 256, (30, 16, 16))
    noise = rng.integers(0, 256, (150, 16, 16))
    alike = ((scenes[groups] + noise) // 2).astype(np.uint8)
    assert compare_groups(groups, labels, alike).is_sure
    assert compare_groups(groups, labels, alike).ratio < 0.85
    chance = compare_groups(groups, labels, noise.astype(np.uint8))
    assert not chance.is_sure
    assert chance.ratio == pytest.approx(1, abs=0.03)
    assert not compare_groups(np.full(150, -1), labels, alike).is_sure
    assert not compare_groups(np.arange(150), labels, alike).is_sure
