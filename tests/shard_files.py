"""Shards and tables as their own libraries write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}
NAMES = tuple(COLOURS)


def picture(label: int, seed: int, side: int = 16) -> bytes:
    """A noisy PNG of one of three colours; the same seed gives the same image."""
    noise = np.random.default_rng([seed, label]).integers(-25, 26, (side, side, 3))
    pixels = np.clip(np.array(COLOURS[NAMES[label]]) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def samples(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """Samples whose labels go round."""
    for k in range(start, start + count):
        yield {"__key__": f"{k:06d}", "png": picture(k % 3, k), "cls": k % 3}


def write_shards(pattern: Path, rows: Iterator[dict[str, Any]], per_shard: int) -> list[Path]:
    """Writes shards with the library webdataset; ``pattern`` is like ``train-%04d.tar``."""
    import webdataset

    pattern.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(str(pattern), maxcount=per_shard, verbose=0) as sink:
        for row in rows:
            sink.write(row)
    return sorted(pattern.parent.glob(pattern.name.replace("%04d", "*")))


def write_splits(folder: Path, counts: Mapping[str, int], per_shard: int = 10) -> Path:
    """``train-0000.tar ... val-0000.tar ...`` with classes.txt beside them."""
    start = 0
    for split, count in counts.items():
        write_shards(folder / f"{split}-%04d.tar", samples(count, start), per_shard)
        start += count
    (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def write_tar(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]], **options: Any) -> Path:
    """A tar of these files, written by the standard library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_table(count: int, start: int = 0, **columns: Any) -> Any:
    """A table of the library datasets with an image and a label in each row."""
    import datasets

    numbers = range(start, start + count)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    rows = {
        "image": [{"bytes": picture(k % 3, k), "path": f"{k:06d}.png"} for k in numbers],
        "label": [k % 3 for k in numbers],
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    for name, values in columns.items():
        table = table.add_column(name, list(values))
    return table
