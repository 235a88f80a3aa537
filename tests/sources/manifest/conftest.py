from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MakeImages = Callable[..., list[Path]]
Photos = list[tuple[str, str]]


@pytest.fixture
def photos(tmp_path: Path, make_images: MakeImages) -> Photos:
    """Two photos each of 50 animals, of two kinds, in ``img/`` of ``tmp_path``: (path from there, class), sorted."""
    files = make_images(tmp_path / "img", 100)
    named = [file.rename(file.with_name(f"p{k // 2:02}_{k % 2}.png")) for k, file in enumerate(files)]
    return [(file.relative_to(tmp_path).as_posix(), ("dog", "cat")[k // 2 % 2]) for k, file in enumerate(named)]
