"""HDF5 read with care: bounded in number, depth and bytes, and never beyond the file itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import MissingExtraError, ModelFileError

MAX_BYTES = 2**30  # of all arrays
MAX_OBJECTS = 50_000  # groups and arrays
MAX_DEPTH = 12
MAX_RATIO = 100  # how often larger than stored a compressed array may become; weights hardly compress

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Content:
    """What an HDF5 file holds.

    Attributes:
        arrays: by path, as float32.
        texts: attributes that are one text, by path and name: ``model_config``, ``layers/conv2d/vars/name``.
    """

    arrays: Arrays = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def read_hdf5(path: Path, data: bytes, texts: tuple[str, ...], skip: Callable[[str], bool]) -> Content:
    """Reads the arrays of numbers in ``data``.

    The file is opened in memory, so that no path in it leads anywhere. Links to elsewhere (also soft ones), arrays
    whose values lie elsewhere, and unusual compression are refused.

    Args:
        path: named in messages.
        data: the file.
        texts: names of the attributes to read.
        skip: whether to leave out the group of this path.

    Raises:
        ModelFileError: no HDF5, damaged, or beyond the bounds.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("h5py", "convert", "reading Keras files") from error
    content = Content()
    try:
        with h5py.File(BytesIO(data), "r") as file:
            walk = _Walk(path, len(data), h5py, content, texts, skip)
            walk.read_texts(file, "")
            walk.read_group(file, "")
    # the types that h5py gives to HDF5's complaints
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"{path}: not a readable HDF5 file ({str(error)[:200]!a})") from error
    return content


class _Walk:
    """Visits every group and array once within the bounds."""

    def __init__(
        self, path: Path, size: int, h5py: Any, content: Content, texts: tuple[str, ...], skip: Callable[[str], bool]
    ) -> None:
        self.path, self.size, self.h5py, self.content, self.texts, self.skip = path, size, h5py, content, texts, skip
        self.objects, self.budget = 0, MAX_BYTES

    def read_group(self, group: Any, prefix: str) -> None:
        if prefix.count("/") > MAX_DEPTH:
            raise ModelFileError(f"{self.path}: groups within groups, more than {MAX_DEPTH} deep")
        for name, child in self._children(group, prefix):
            if isinstance(child, self.h5py.Group) and not self.skip(name):
                self.read_texts(child, f"{name}/")
                self.read_group(child, f"{name}/")
            elif isinstance(child, self.h5py.Dataset):
                self.content.arrays[name] = self._read(name, child)

    def read_texts(self, item: Any, prefix: str) -> None:
        for name in self.texts:
            value = item.attrs[name] if self._is_one_value(item.attrs, name) else None
            if isinstance(value, bytes):
                value = value.decode()
            if isinstance(value, str):
                self.content.texts[f"{prefix}{name}"] = value

    def _is_one_value(self, attributes: Any, name: str) -> bool:
        if name not in attributes:
            return False
        attribute = attributes.get_id(name)
        return bool(attribute.shape == () and attribute.get_storage_size() <= self.size)

    def _children(self, group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for key in group:
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise ModelFileError(f"{self.path}: more than {MAX_OBJECTS:,} groups and arrays")
            if not isinstance(group.get(key, getlink=True), self.h5py.HardLink):
                raise ModelFileError(f"{self.path}: {key[:80]!a} is a link to elsewhere, which is not followed")
            yield f"{prefix}{key}", group[key]

    def _read(self, name: str, dataset: Any) -> NDArray[np.float32]:
        problem = self._find_problem(dataset)
        if problem:
            raise ModelFileError(f"{self.path}: {name[:80]!a} {problem}")
        self.budget -= dataset.size * 4
        return np.asarray(dataset[()], np.float32)

    def _find_problem(self, dataset: Any) -> str | None:
        if dataset.external or dataset.is_virtual:
            return "keeps its values in another file, which is not opened"
        if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8 or dataset.shape is None:
            return f"holds {dataset.dtype}, not numbers"
        if max(dataset.size * 4, dataset.nbytes, self._chunk_bytes(dataset)) > self.budget:
            return f"and what comes before it have more than {MAX_BYTES:,} bytes"
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > (stored * MAX_RATIO if dataset.chunks else stored):
            return f"announces {dataset.nbytes:,} bytes, but {stored:,} are stored"
        return None if self._has_usual_filters(dataset) else "is compressed in an unusual way"

    def _chunk_bytes(self, dataset: Any) -> int:
        return math.prod(dataset.chunks) * int(dataset.dtype.itemsize) if dataset.chunks else 0

    def _has_usual_filters(self, dataset: Any) -> bool:
        h5z, chain = self.h5py.h5z, dataset.id.get_create_plist()
        usual = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)
        return all(chain.get_filter(i)[0] in usual for i in range(chain.get_nfilters()))
