"""CIFAR-10 and CIFAR-100 as published: binary or Python version, a folder or a .tar.gz, recognised by content.

Format: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featherlight.console import counting
from featherlight.errors import DataError, MissingExtraError
from featherlight.files import atomic_path, cache_folder
from featherlight.sources.arrays import array_source, array_split
from featherlight.sources.base import Source, take
from featherlight.sources.cifar_pickle import load_batch
from featherlight.sources.facts import collect_facts
from featherlight.sources.splitting import check_splits, choose_splits

CifarName = Literal["cifar10", "cifar100"]
ARCHIVES = (".tar.gz", ".tgz")

_PIXELS = 3 * 32 * 32
_MAX_BYTES = 512 * 2**20  # unpacked; the published archives have 186 MB
_MAX_MEMBERS = 1000
_Files = Mapping[str, Callable[[], bytes | memoryview]]  # file name -> its content
_Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # (N, 3, 32, 32), (N,)


@dataclass(frozen=True)
class _Layout:
    kind: CifarName
    train: tuple[str, ...]
    test: str
    meta: str
    pickled: bool

    def fits(self, names: Collection[str]) -> bool:
        """Whether files of these names are this layout, complete or not."""
        present = sum(name in names for name in (*self.train, self.test, self.meta))
        return present >= (1 if self.kind == "cifar10" else 2)  # a lone file called "train" may be anything


_LAYOUTS = (
    _Layout("cifar10", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt", False),
    _Layout("cifar10", tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta", True),
    _Layout("cifar100", ("train.bin",), "test.bin", "fine_label_names.txt", False),
    _Layout("cifar100", ("train",), "test", "meta", True),
)

_CLASSES: dict[CifarName, tuple[str, ...]] = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": tuple(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905  a hundred quoted names are no easier to read
    ),
}


def open_cifar_folder(folder: Path, *, name: str | None = None, kind: CifarName | None = None) -> Source | None:
    """Opens the CIFAR data set that lies in ``folder`` or one level below; None if there is none.

    Args:
        folder: an existing folder.
        name: the source's name; the absolute path if not given.
        kind: only this one of the two data sets.

    Returns:
        The source, its images in one uint8 array.

    Raises:
        DataError: files are missing, damaged, of a wrong size or hostile.
    """
    return _open_found(folder, _in_folder(folder), name, kind)


def open_cifar_archive(archive: Path, *, name: str | None = None, kind: CifarName | None = None) -> Source:
    """Opens the CIFAR data set in a ``.tar.gz``, read in memory; arguments and errors as :func:`open_cifar_folder`.

    Raises:
        DataError: also if the archive holds something else.
    """
    source = _open_found(archive, _in_archive(archive), name, kind)
    if source is None:
        wanted = {None: "CIFAR", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[kind]
        raise DataError(f"{archive}: holds no {wanted} files; unpack an archive of other images and give the folder")
    return source


def open_known(kind: CifarName) -> Source:
    """Opens CIFAR by its name: from ``$FEATHERLIGHT_DATA``, else the cache folder, else the network.

    Raises:
        DataError: there is none and it cannot be downloaded, or what is there is damaged.
        MissingExtraError: it must be downloaded and torchvision is not installed.
    """
    folder = Path(os.path.expanduser(os.environ.get("FEATHERLIGHT_DATA") or cache_folder() / "data"))
    if folder.is_dir():
        source = open_cifar_folder(folder, name=kind, kind=kind)
        if source is not None:
            return source
    prefix = {"cifar10": "cifar-10-", "cifar100": "cifar-100-"}[kind]
    archives = sorted(file for file in folder.glob(f"{prefix}*") if file.name.lower().endswith(ARCHIVES))
    return open_cifar_archive(archives[0] if archives else _download(kind, folder), name=kind, kind=kind)


def _open_found(
    path: Path, groups: Iterator[tuple[str, _Files]], name: str | None, kind: CifarName | None
) -> Source | None:
    found: dict[CifarName, tuple[str, _Files, _Layout]] = {}
    for where, files in groups:
        layout = next((layout for layout in _LAYOUTS if layout.fits(files) and kind in (None, layout.kind)), None)
        if layout:
            found.setdefault(layout.kind, (where, files, layout))
    if len(found) > 1:
        places = " or ".join(where for where, _, _ in found.values())
        raise DataError(f"{path}: holds both CIFAR-10 and CIFAR-100; give one of them: {places}")
    for where, files, layout in found.values():
        return _open_layout(where, files, layout, name or os.path.abspath(path))
    return None


def _in_folder(folder: Path) -> Iterator[tuple[str, _Files]]:
    """The folder's own files, or if they are no CIFAR those of each folder in it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        own: _Files = {entry.name: Path(entry.path).read_bytes for entry in entries if entry.is_file()}
        yield str(folder), own
        if any(layout.fits(own) for layout in _LAYOUTS):
            return
        for entry in entries:
            if entry.is_dir():
                names = {name for layout in _LAYOUTS for name in (*layout.train, layout.test, layout.meta)}
                files = [file for file in (Path(entry.path, name) for name in sorted(names)) if file.is_file()]
                yield entry.path, {file.name: file.read_bytes for file in files}
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error


def _in_archive(archive: Path) -> Iterator[tuple[str, _Files]]:
    """The files at the archive's top and those of each folder there; nothing is unpacked onto the disk."""
    try:
        with gzip.open(archive) as file:
            data = file.read(_MAX_BYTES + 1)
        groups = _group_members(archive, data)
    except DataError:
        raise
    except Exception as error:  # gzip and tarfile raise many kinds on damaged files
        raise DataError(f"{archive}: not a readable .tar.gz, perhaps an unfinished download ({error})") from error
    for folder, files in sorted(groups.items()):
        yield f"{archive}/{folder}", files


def _group_members(archive: Path, data: bytes) -> dict[str, dict[str, Callable[[], bytes | memoryview]]]:
    if len(data) > _MAX_BYTES:
        raise DataError(f"{archive}: has more than {_MAX_BYTES // 2**20} MB unpacked, so it is not CIFAR")
    view = memoryview(data)
    groups: dict[str, dict[str, Callable[[], bytes | memoryview]]] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for count, member in enumerate(tar):
            if count == _MAX_MEMBERS:
                raise DataError(f"{archive}: has more than {_MAX_MEMBERS} members, so it is not CIFAR")
            parts = PurePosixPath(member.name).parts
            if member.isreg() and not member.issparse() and len(parts) in (1, 2):
                content = view[member.offset_data : member.offset_data + member.size]
                groups.setdefault("/".join(parts[:-1]), {})[parts[-1]] = partial(_same, content)
    return groups


def _same(content: memoryview) -> memoryview:
    return content


def _open_layout(where: str, files: _Files, layout: _Layout, name: str) -> Source:
    missing = [file for file in (*layout.train, layout.test) if file not in files]
    if missing:
        raise DataError(f"{where}: looks like {layout.kind}, but {', '.join(missing)} is missing")
    classes = _read_classes(where, files, layout)
    train = [_read_batch(where, files, file, layout, len(classes)) for file in layout.train]
    test = [_read_batch(where, files, layout.test, layout, len(classes))]
    num_train = sum(len(labels) for _, labels in train)
    images = np.empty((num_train + len(test[0][1]), 32, 32, 3), np.uint8)
    np.concatenate([pixels.transpose(0, 2, 3, 1) for pixels, _ in train + test], out=images)
    labels = np.concatenate([labels for _, labels in train + test])
    paths = [f"{layout.kind}/train/{i:05d}" for i in range(num_train)]
    paths += [f"{layout.kind}/test/{i:05d}" for i in range(len(images) - num_train)]
    everything = array_split(images, labels, paths)
    with counting("looking at images", num_train) as advance:
        facts = collect_facts(take(everything, np.arange(num_train)), advance)
    splits = choose_splits(facts, None, {"train": 0.9, "val": 0.1})
    check_splits(where, classes, {split: labels[chosen] for split, chosen in splits.items()})
    splits["test"] = np.arange(num_train, len(images))
    return array_source(name, classes, everything, splits, flip_safe=True, own_splits=("train", "val"))


def _read(where: str, files: _Files, file: str) -> bytes | memoryview:
    try:
        return files[file]()
    except OSError as error:
        raise DataError(f"{where}/{file}: cannot be read ({error.strerror or error})") from error


def _read_classes(where: str, files: _Files, layout: _Layout) -> tuple[str, ...]:
    if layout.meta not in files:
        return _CLASSES[layout.kind]
    path = f"{where}/{layout.meta}"
    data = _read(where, files, layout.meta)
    if layout.pickled:
        content = load_batch(data, path)
        names: Any = content.get("label_names" if layout.kind == "cifar10" else "fine_label_names")
    else:
        names = bytes(data).splitlines()
    if not isinstance(names, list) or not all(isinstance(name, (bytes, str)) for name in names):
        raise DataError(f"{path}: holds no list of class names")
    decoded = (name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
    classes = tuple(name.strip() for name in decoded if name.strip())
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"{path}: needs at least two different class names, one each")
    return classes


def _read_batch(where: str, files: _Files, file: str, layout: _Layout, num_classes: int) -> _Batch:
    path = f"{where}/{file}"
    data = _read(where, files, file)
    pixels, labels = _from_pickle(data, path, layout) if layout.pickled else _from_records(data, path, layout)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"{path}: has labels from {labels.min()} to {labels.max()}, but there are {num_classes} classes"
        )
    return pixels.reshape(-1, 3, 32, 32), labels


def _from_records(data: bytes | memoryview, path: str, layout: _Layout) -> _Batch:
    before = 1 if layout.kind == "cifar10" else 2  # CIFAR-100: the coarse label, then the fine one
    record = before + _PIXELS
    if not data or len(data) % record:
        raise DataError(f"{path}: has {len(data)} bytes, not a multiple of {record}; damaged or incomplete")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return rows[:, before:], rows[:, before - 1].astype(np.int64)


def _from_pickle(data: bytes | memoryview, path: str, layout: _Layout) -> _Batch:
    batch = load_batch(data, path)
    pixels, labels = batch.get("data"), batch.get("labels" if layout.kind == "cifar10" else "fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS or not len(pixels):
        raise DataError(f"{path}: its images are not an array of (N, {_PIXELS}) bytes")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise DataError(f"{path}: its labels are not a list of numbers")
    if len(labels) != len(pixels):
        raise DataError(f"{path}: has {len(pixels)} images but {len(labels)} labels")
    return pixels, np.array(labels, np.int64)


def _download(kind: CifarName, folder: Path) -> Path:
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
        from torchvision.datasets.utils import download_url
    except ImportError as error:
        raise MissingExtraError("torchvision", "train", f"downloading {kind}") from error
    dataset = {"cifar10": CIFAR10, "cifar100": CIFAR100}[kind]
    target: Path = folder / dataset.filename
    with atomic_path(target) as temporary:
        try:
            with redirect_stdout(sys.stderr):  # standard output belongs to results
                download_url(dataset.url, str(temporary.parent), temporary.name, dataset.tgz_md5)
        except (OSError, RuntimeError, HTTPException) as error:
            raise DataError(
                f"{kind} is not in {folder}, and the download failed ({error}). "
                f"Get {dataset.url} by other means and put it there as {target}"
            ) from error
    return target
