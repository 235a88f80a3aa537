"""Train on images whose file names say what they show, or on anything else that is no folder for each class.

    python examples/manifest_from_names.py photos --out cleaned

Here names look like ``LABEL-SERIES-NUMBER.jpg``, as in ``tulip-garden3-0042.jpg``. Pictures of one series look alike,
so a series must not be in training and in the test at once. Put your own ``describe`` in place of the one below: from
a database, a spreadsheet, a file beside the image.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import featherlight

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
Row = dict[str, str]


def describe(image: Path) -> Row:
    """One row of the manifest. ``split`` (train, val, test) and ``weight`` may be columns, too."""
    label, series, _number = image.stem.split("-")
    return {"path": str(image.resolve()), "label": label, "group": series}


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """A CSV file that ``check`` and ``train`` take in the place of a folder."""
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, listed[0])
        writer.writeheader()
        writer.writerows(listed)


def train_on_names(images: Path, out: Path, epochs: int | None = None) -> None:
    """Lists the images, looks for mistakes, trains."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "images.csv"
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    write_manifest(manifest, map(describe, found))

    for finding in featherlight.check(manifest):
        print(f"{finding.severity}: {finding.kind}: {finding.message}")

    run = featherlight.train(manifest, epochs=epochs, balance="weights", out=out / "run")
    print(f"\n{run.metrics['top1']:.1%} of {run.metrics['num_images']} {run.metrics['split']} images are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, default=Path("from-names"))
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    train_on_names(given.images, given.out, given.epochs)
