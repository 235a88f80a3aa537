from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.files import cache_folder
from featherlight.sources.base import Split
from featherlight.sources.files import FileReader


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder; gives the folder of decoded images in it."""
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))
    return cache_folder() / "decoded"


@pytest.fixture
def write_photos(tmp_path: Path) -> Callable[..., Split]:
    """Writes photos (JPEG, noisy, 64 x 48) into a folder and gives them as a split."""

    def write(count: int = 10, seed: int = 0, folder: str = "photos", broken: tuple[int, ...] = ()) -> Split:
        rng = np.random.default_rng(seed)
        (tmp_path / folder).mkdir()
        paths = [tmp_path / folder / f"{k:04}.jpg" for k in range(count)]
        for k, path in enumerate(paths):
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(path, quality=95)
            if k in broken:
                path.write_bytes(path.read_bytes()[:200])
        return Split(np.arange(count) % 2, tuple(map(str, paths)), FileReader(tuple(map(str, paths))))

    return write
