"""A manifest of half a million rows: how long until the first training batch is there, and how much memory it takes.

    python benchmarks/manifest_rows.py --rows 500000 --classes 10 10000

The rows name as many files, hard links to a few thousand small JPEGs: every name is looked up and every file's size
asked for, as with real ones, but the images lie in the page cache. So this is the cost of many rows, not of a disk.
Each line is a fresh process; its clock starts when everything is imported.

Prints a table for docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

FILES = 4000
PER_FOLDER = 1000
FORMATS = ("csv", "jsonl", "parquet")
COLUMNS = ("path", "label", "split")


def make_images(root: Path, rows: int) -> None:
    """``rows`` names for a few thousand JPEGs of noise, 64 px, a thousand names a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (root / "files").mkdir()
    for k in range(min(FILES, rows)):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(root / "files" / f"{k}.jpg", quality=60)
    for k in range(rows):
        name = root / image_name(k)
        if k % PER_FOLDER == 0:
            name.parent.mkdir(parents=True)
        os.link(root / "files" / f"{k % FILES}.jpg", name)


def image_name(k: int) -> str:
    return f"images/{k // PER_FOLDER:04}/{k:07}.jpg"


def table(rows: int, classes: int) -> Iterator[tuple[str, str, str]]:
    """Every tenth image of a class is for validation."""
    for k in range(rows):
        yield image_name(k), f"class {k % classes:05}", "val" if k // classes % 10 == 9 else "train"


def write_manifest(file: Path, rows: int, classes: int) -> None:
    if file.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        columns = zip(*table(rows, classes), strict=True)
        parquet.write_table(pyarrow.table(dict(zip(COLUMNS, map(list, columns), strict=True))), file)
        return
    with file.open("w", newline="") as stream:
        if file.suffix == ".csv":
            csv.writer(stream).writerows([COLUMNS, *table(rows, classes)])
        else:
            stream.writelines(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in table(rows, classes))


def measure(manifest: str, workers: int) -> dict[str, float]:
    """What ``train`` does until the first batch: opens the manifest, looks at a few images, streams."""
    from featherlight.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from featherlight.loading.augment import Augmentation
    from featherlight.loading.batches import StreamedBatches
    from featherlight.sources import open_source
    from featherlight.workflows.train import facts_of

    preprocessing = Preprocessing(224, "crop", 0.875, IMAGENET_MEAN, IMAGENET_STD)
    before, started = peak_bytes(resource.RUSAGE_SELF), time.perf_counter()
    source = open_source(manifest)
    opened = time.perf_counter()
    facts_of(source)
    augmentation = Augmentation(224, "resized", True, False, 0, 0, len(source.classes))
    batches = StreamedBatches(source.splits["train"], preprocessing, augmentation, 64, 0, workers, strict=False)
    batch = next(batches.epoch(0))
    ready = time.perf_counter()
    assert len(batch.labels) > 0
    return {
        "open_s": opened - started,
        "batch_s": ready - opened,
        "total_s": ready - started,
        "imports_bytes": before,
        "peak_bytes": peak_bytes(resource.RUSAGE_SELF),
    }


def peak_bytes(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * 1024


def run(manifest: Path, workers: int, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(manifest), "--workers", str(workers)]
    environment = {**os.environ, "FEATHERLIGHT_CACHE": str(cache)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(result.stdout))


def print_results(root: Path, options: argparse.Namespace) -> None:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow", "pyarrow"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {libraries}; {options.rows:,} rows\n")
    print("| classes | format | opened | first batch | together | memory at the peak | of it imports |")
    print("|---|---|---|---|---|---|---|")
    for classes in options.classes:
        for kind in options.formats:
            manifest = root / f"{classes}.{kind}"
            write_manifest(manifest, options.rows, classes)
            found = run(manifest, options.workers, root / "cache")
            print(
                f"| {classes:,} | {kind} | {found['open_s']:.1f} s | {found['batch_s']:.1f} s | "
                f"{found['total_s']:.1f} s | {found['peak_bytes'] / 2**20:,.0f} MiB | "
                f"{found['imports_bytes'] / 2**20:,.0f} MiB |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure", metavar="MANIFEST", help="only this, printed as JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), options.rows)
        print_results(Path(folder), options)


if __name__ == "__main__":
    main()
