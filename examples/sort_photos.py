"""Sort a heap of photos into a folder for each label.

    python examples/sort_photos.py cifar10 heap --out sorted

Photos are copied, never moved. What the model does not know goes to ``unsure``, and what cannot be read is listed.
``cifar10`` is the small model that comes with Featherlight; an exported file makes it several times faster.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from pathlib import Path

import featherlight

UNSURE = "unsure"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def sort_photos(model: str, heap: Path, out: Path) -> Counter[str]:
    """Copies the photos; returns how many went where."""
    photos = sorted(path for path in heap.rglob("*") if path.suffix.lower() in SUFFIXES)
    counts: Counter[str] = Counter()
    for photo, answer in zip(photos, featherlight.Predictor(model).stream(photos, top=1), strict=True):
        if answer.label is None:
            print(f"{photo}: {answer.error}")
            continue
        folder = out / (UNSURE if answer.rejected else answer.label)
        folder.mkdir(parents=True, exist_ok=True)
        counts[folder.name] += 1
        shutil.copy2(photo, folder / f"{counts[folder.name]:05}-{photo.name}")
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("heap", type=Path)
    parser.add_argument("--out", type=Path, default=Path("sorted"))
    given = parser.parse_args()
    for label, count in sort_photos(given.model, given.heap, given.out).most_common():
        print(f"{count:6} {label}")
