from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / "benchmarks"))  # the writer of CIFAR's layouts


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("FEATHERLIGHT_DATA", raising=False)


@pytest.fixture
def make_images() -> Callable[..., list[Path]]:
    """Writes ``count`` different small images into a folder; the same seed gives the same images."""

    def make(folder: Path, count: int, seed: int = 0, side: int = 6) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, *os.fsencode(folder.name)])
        files = [folder / f"{i:03d}.png" for i in range(count)]
        for file in files:
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file)
        return files

    return make


@pytest.fixture
def cifar_zip() -> Path:
    """CIFAR-10 as JPEG files in a zip, where the machine has one."""
    folder = os.environ.get("FEATHERLIGHT_TEST_DATA") or REPO.parent / "shared" / "data"
    file = Path(folder) / "cifar10-jpeg.zip"
    if not file.exists():
        pytest.skip(f"no {file.name}; set FEATHERLIGHT_TEST_DATA to the folder that holds it")
    return file
