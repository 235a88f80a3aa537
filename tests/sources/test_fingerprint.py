from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import featherlight.sources.fingerprint as module
from featherlight.sources.base import Split
from featherlight.sources.files import FileReader
from featherlight.sources.fingerprint import fingerprint

Paint = Callable[[Path, str, int], Path]


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    for number, colour in enumerate(("blue", "green", "red")):
        paint(tmp_path / "data" / f"{number}.bmp", colour, number)
    return tmp_path / "data"


def split_of(root: Path, labels: tuple[int, ...] = (0, 1, 1), **fields: object) -> Split:
    paths = tuple(str(root / f"{number}.bmp") for number in range(3))
    return Split(np.array(labels), paths, FileReader(paths), **fields)  # type: ignore[arg-type]


def print_of(root: Path, classes: tuple[str, ...] = ("a", "b"), split: str = "train", **fields: object) -> str:
    return fingerprint(classes, {split: split_of(root, **fields)}, str(root))  # type: ignore[dict-item,arg-type]


def test_it_is_the_same_wherever_the_folder_lies(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "elsewhere")
    assert print_of(root) == print_of(tmp_path / "elsewhere")


def test_it_sees_classes_labels_splits_weights_and_names(root: Path) -> None:
    os.symlink(root / "0.bmp", root / "3.bmp")
    paths = tuple(str(root / f"{number}.bmp") for number in (3, 1, 2))
    renamed = fingerprint(("a", "b"), {"train": Split(np.array((0, 1, 1)), paths, FileReader(paths))}, str(root))
    prints = {
        print_of(root),
        print_of(root, classes=("a", "c")),
        print_of(root, labels=(0, 0, 1)),
        print_of(root, split="val"),
        print_of(root, weights=np.array((1, 2, 1), np.float32)),
        renamed,
    }
    assert len(prints) == 6


@pytest.mark.parametrize("read_up_to", [3, 2])
def test_it_sees_another_image_of_the_same_name(root: Path, monkeypatch: pytest.MonkeyPatch, read_up_to: int) -> None:
    monkeypatch.setattr(module, "READ_UP_TO", read_up_to)
    before = print_of(root)
    assert print_of(root) == before
    (root / "1.bmp").write_bytes((root / "1.bmp").read_bytes() + b"more")
    assert print_of(root) != before


def test_it_sees_other_bytes_of_the_same_length(root: Path, paint: Paint) -> None:
    before, size = print_of(root), (root / "1.bmp").stat().st_size
    data = bytearray((root / "1.bmp").read_bytes())
    data[-1] ^= 1
    (root / "1.bmp").write_bytes(data)
    assert (root / "1.bmp").stat().st_size == size
    assert print_of(root) != before


def test_missing_files_do_not_stop_it(root: Path) -> None:
    before = print_of(root)
    (root / "2.bmp").unlink()
    assert print_of(root) != before
