"""Writes CIFAR-10 in its two official layouts from a copy that is laid out ``train|test/<class>/NNNN.jpg``.

    python benchmarks/cifar_layouts.py SOURCE_ZIP_OR_FOLDER OUT_DIR [--layout binary|python|both] [--archive]

Class ids are alphabetical, as in the original. The order is a shuffle with a fixed seed, so that batches mix classes.
A source smaller than CIFAR-10 makes smaller batches; there are always five and a test batch.
Format: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import argparse
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from featherlight.images import load_image

NUM_BATCHES = 5
FOLDERS = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}
ARCHIVES = {"binary": "cifar-10-binary.tar.gz", "python": "cifar-10-python.tar.gz"}  # the published names


@dataclass(frozen=True)
class Images:
    """Images of one split in writing order: pixels (N, 3072) with the colours one after the other, labels (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    filenames: list[str]

    def __getitem__(self, part: slice) -> Images:
        return Images(self.pixels[part], self.labels[part], self.filenames[part])

    def batches(self) -> list[Images]:
        size = -(-len(self.filenames) // NUM_BATCHES)
        return [self[start : start + size] for start in range(0, size * NUM_BATCHES, size)]


def read_source(source: Path, seed: int = 0) -> tuple[list[str], Images, Images]:
    """Class names, training and test images of a zip or folder."""
    files = _list_zip(source) if source.is_file() else _list_folder(source)
    decoded = [(split, name, path.name, load_image(data, str(path))) for split, name, path, data in files]
    classes = sorted({name for _, name, _, _ in decoded})
    rng = np.random.default_rng(seed)
    splits = []
    for wanted in ("train", "test"):
        rows = [(classes.index(name), file, image) for split, name, file, image in decoded if split == wanted]
        order = rng.permutation(len(rows))
        pixels = np.stack([rows[i][2].transpose(2, 0, 1).reshape(-1) for i in order])
        labels = np.array([rows[i][0] for i in order], np.int64)
        splits.append(Images(pixels, labels, [f"{classes[rows[i][0]]}_{rows[i][1]}" for i in order]))
    return classes, splits[0], splits[1]


def write_binary(folder: Path, classes: Sequence[str], train: Images, test: Images) -> None:
    """``data_batch_1.bin`` ... ``test_batch.bin``: records of a label byte and 3,072 pixel bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, images in _name_batches(train, test):
        records = np.concatenate([images.labels[:, None].astype(np.uint8), images.pixels], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(classes) + "\n\n", encoding="utf-8")


def write_python(folder: Path, classes: Sequence[str], train: Images, test: Images) -> None:
    """``data_batch_1`` ... ``test_batch``: pickled dictionaries with bytes as keys, protocol 2."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, images) in enumerate(_name_batches(train, test), start=1):
        title = "testing batch 1 of 1" if name == "test_batch" else f"training batch {number} of {NUM_BATCHES}"
        content = {
            b"batch_label": title.encode(),
            b"labels": images.labels.tolist(),
            b"data": images.pixels,
            b"filenames": [filename.encode() for filename in images.filenames],
        }
        _write_pickle(folder / name, content)
    label_names = [name.encode() for name in classes]
    size = len(train.batches()[0].filenames)
    meta = {b"num_cases_per_batch": size, b"label_names": label_names, b"num_vis": train.pixels.shape[1]}
    _write_pickle(folder / "batches.meta", meta)


def write_archive(folder: Path, archive: Path) -> None:
    """The folder as a ``.tar.gz``, as it is published."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)


def _name_batches(train: Images, test: Images) -> Iterator[tuple[str, Images]]:
    for number, images in enumerate(train.batches(), start=1):
        yield f"data_batch_{number}", images
    yield "test_batch", test


def _write_pickle(path: Path, content: dict[bytes, object]) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def _list_zip(source: Path) -> Iterator[tuple[str, str, PurePosixPath, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for member in sorted(archive.namelist()):
            path = PurePosixPath(member)
            if len(path.parts) == 3 and not member.endswith("/"):
                yield path.parts[0], path.parts[1], path, archive.read(member)


def _list_folder(source: Path) -> Iterator[tuple[str, str, PurePosixPath, bytes]]:
    for file in sorted(source.glob("*/*/*")):
        path = PurePosixPath(file.relative_to(source).as_posix())
        yield path.parts[0], path.parts[1], path, file.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write CIFAR-10 in its official layouts.")
    parser.add_argument("source", type=Path, help="zip or folder with train|test/<class>/NNNN.jpg")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--layout", choices=("binary", "python", "both"), default="both")
    parser.add_argument("--archive", action="store_true", help="also write a .tar.gz of each layout")
    arguments = parser.parse_args()
    classes, train, test = read_source(arguments.source)
    writers = {"binary": write_binary, "python": write_python}
    for layout in writers if arguments.layout == "both" else (arguments.layout,):
        folder = arguments.out / FOLDERS[layout]
        writers[layout](folder, classes, train, test)
        print(folder)
        if arguments.archive:
            write_archive(folder, arguments.out / ARCHIVES[layout])
            print(arguments.out / ARCHIVES[layout])


if __name__ == "__main__":
    main()
