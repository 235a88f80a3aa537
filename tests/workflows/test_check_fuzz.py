"""Damaged images of every format through a check: each is decoded as Pillow would, or reported."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.errors import UnreadableImageError
from featherlight.images import load_image

FORMATS = {
    "jpg": {}, "jpeg": {"progressive": True}, "png": {}, "gif": {}, "bmp": {}, "webp": {}, "tif": {},
    "tiff": {"compression": "tiff_lzw"}, "ppm": {},
}  # fmt: skip


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut away, doubled or put in; most near the beginning, where it hurts."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(len(data) * rng.random() ** 3)
        match rng.integers(4):
            case 0:
                data[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                del data[at : at + int(rng.integers(1, 60))]
            case 2:
                data[at:at] = data[at : at + int(rng.integers(1, 60))]
            case _:
                data = data[: max(at, 1)] if rng.random() < 0.3 else data
        if not data:
            break
    return bytes(data)


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,007 damaged images in two classes."""
    root, rng = tmp_path_factory.mktemp("mutants"), np.random.default_rng(0)
    for number, (ending, options) in enumerate(FORMATS.items()):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        buffer = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
        coarse.resize((40, 32), Image.Resampling.BICUBIC).save(buffer, kind, **options)
        for k in range(223):
            path = root / "ab"[k % 2] / f"{number}-{k}.{ending}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(damaged(buffer.getvalue(), rng))
    return root


def test_every_damaged_image_is_decoded_or_reported(mutants: Path, tmp_path: Path) -> None:
    findings = featherlight.check(mutants, out=tmp_path / "out", fix=tmp_path / "fixed")
    reported = {path for finding in findings if finding.kind == "unreadable" for path in finding.paths}
    expected = set()
    for path in mutants.rglob("*.*"):
        try:
            load_image(path)
        except UnreadableImageError:
            expected.add(str(path))
    assert reported == expected
    assert findings.num_images == 2007
    assert 200 < len(reported) < 1900
    assert sum(findings.split_counts().values()) == 2007 - len(reported)
