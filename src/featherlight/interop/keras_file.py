"""Keras weight files without Keras or TensorFlow: legacy ``.h5``, ``.weights.h5`` and ``.keras``.

What they hold (read off files of tf_keras 2.21 and Keras 3.15):

- legacy ``.h5``: ``[model_weights/]<layer>/.../<variable>``, and in a whole model the attribute ``model_config``;
- ``.weights.h5``: ``layers/<class>_<counter>/vars/<number>``. Counters follow the order of ``model.layers``, not that
  of construction; newer Keras adds the layer's own name as an attribute of ``vars``;
- ``.keras``: a zip with ``config.json`` and ``model.weights.h5``.

Nothing in a file is executed: of a configuration only names, classes and connections are read. Files are opened in
memory, so that no path in them leads anywhere; links to elsewhere and data that lies elsewhere are refused.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherlight.errors import MissingExtraError, ModelFileError

MAX_FILE_BYTES = 2**30
MAX_CONFIG_BYTES = 64 * 2**20
MAX_OBJECTS = 50_000  # groups and arrays
MAX_DEPTH = 12
MAX_MEMBERS = 1000  # of a zip
MAX_RATIO = 100  # how often larger than stored something may become; weights hardly compress

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
# Variables of the layers that have numbered ones, in Keras's order.
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_COUNTED = re.compile(r"(.+?)(?:_(\d+))?")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Layer:
    """One layer that has weights.

    Attributes:
        name: its own name, or that of its place in the file where the file does not tell it.
        kind: ``conv2d``, ``depthwise_conv2d``, ``dense``, ``batch_normalization`` or another class in snake case.
        arrays: by variable: ``kernel``, ``bias``, ``gamma``, ``beta``, ``moving_mean``, ``moving_variance``.
    """

    name: str
    kind: str
    arrays: Arrays


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file holds.

    Attributes:
        layers: those with weights, sorted by name with counters in their natural order.
        config: the model's configuration, parsed JSON; None where the file has none.
        named: whether the layers have their own names, whose counters tell the order of construction.
    """

    layers: tuple[Layer, ...]
    config: Mapping[str, Any] | None
    named: bool


def natural_key(name: str) -> tuple[str, int]:
    """Sorts ``conv2d, conv2d_1, conv2d_2, ... conv2d_10``."""
    match = _COUNTED.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match else (name, 0)


def read_keras(path: Path) -> KerasFile:
    """Reads the weights and the configuration of a Keras file.

    A file without configuration takes the one beside it, ``NAME.json`` for ``NAME.h5`` or ``NAME.weights.h5``: what
    ``model.to_json()`` gives.

    Raises:
        ModelFileError: no Keras file, damaged, too large, or with data elsewhere.
        MissingExtraError: h5py is not installed.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path}: {size:,} bytes; Keras files up to {MAX_FILE_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    if data.startswith(b"PK"):
        config, data = _unzip(path, data)
        return _read_hdf5(path, data, config)
    return _read_hdf5(path, data, _config_beside(path))


def _config_beside(path: Path) -> Mapping[str, Any] | None:
    beside = path.with_name(path.name.removesuffix(".h5").removesuffix(".weights") + ".json")
    if not beside.is_file():
        return None
    with beside.open("rb") as file:
        return _parse_config(beside, file.read(MAX_CONFIG_BYTES + 1))


def _parse_config(path: Path, text: bytes | str) -> Mapping[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelFileError(f"{path}: a configuration of more than {MAX_CONFIG_BYTES:,} bytes")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its configuration is no JSON") from error
    if not isinstance(config, dict):
        raise ModelFileError(f"{path}: its configuration is no table")
    return config


def _unzip(path: Path, data: bytes) -> tuple[Mapping[str, Any], bytes]:
    """Configuration and weights out of a ``.keras``, in memory; no other member is touched."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ModelFileError(f"{path}: a zip with {len(members):,} members, so it is no Keras model")
            config = _parse_config(path, _member(path, archive, _CONFIG, MAX_CONFIG_BYTES))
            return config, _member(path, archive, _WEIGHTS, MAX_FILE_BYTES)
    # zipfile raises several kinds on damaged or encrypted files, zlib and lzma their own
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, NotImplementedError, LookupError) as error:
        raise ModelFileError(f"{path}: not a readable .keras file ({str(error)[:200]!a})") from error


def _member(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise ModelFileError(f"{path}: a .keras file has one {name} in it, this one has {len(found)}")
    member = found[0]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelFileError(f"{path}: {name} is compressed in an unusual way")
    limit = min(limit, member.compress_size * MAX_RATIO)
    with archive.open(member) as file:
        content = file.read(limit + 1)
    if len(content) > limit or len(content) != member.file_size:
        raise ModelFileError(f"{path}: {name} does not have the size that the zip announces, or one beyond all measure")
    return content


def _read_hdf5(path: Path, data: bytes, config: Mapping[str, Any] | None) -> KerasFile:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("h5py", "convert", "reading Keras files") from error
    try:
        with h5py.File(BytesIO(data), "r") as file:
            own = file.attrs.get("model_config")
            if isinstance(own, str | bytes):
                config = _parse_config(path, own)
            arrays = dict(_Walk(path, h5py, MAX_FILE_BYTES).arrays(file))
            names = _layer_names(file, arrays)
    # h5py gives HDF5's complaints these types
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"{path}: not a readable HDF5 file ({str(error)[:200]!a})") from error
    layers = _layers(path, arrays, names)
    is_legacy = not any("/vars/" in name for name in arrays)
    return KerasFile(layers, config, is_legacy or len(names) == len(layers))


class _Walk:
    """Visits every array of an HDF5 file, within bounds of count, depth and bytes."""

    def __init__(self, path: Path, h5py: Any, budget: int) -> None:
        self.path, self.h5py, self.budget, self.objects = path, h5py, budget, 0

    def arrays(self, group: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, NDArray[Any]]]:
        """Name and array of each one below ``group``; the optimiser's are left out."""
        if depth > MAX_DEPTH:
            raise ModelFileError(f"{self.path}: groups within groups, more than {MAX_DEPTH} deep")
        for key in group:
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise ModelFileError(f"{self.path}: more than {MAX_OBJECTS:,} objects, so it is no Keras file")
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), self.h5py.HardLink):
                raise ModelFileError(f"{self.path}: {name[:80]!a} is a link to elsewhere, which is not followed")
            child = group[key]
            if isinstance(child, self.h5py.Group):
                if not (depth == 0 and key in ("optimizer", "optimizer_weights", "_optimizer")):
                    yield from self.arrays(child, f"{name}/", depth + 1)
            elif isinstance(child, self.h5py.Dataset):
                yield name, self._read(name, child)

    def _read(self, name: str, dataset: Any) -> NDArray[Any]:
        problem = self._find_problem(dataset)
        if problem:
            raise ModelFileError(f"{self.path}: {name[:80]!a} {problem}")
        self.budget -= dataset.nbytes
        return np.asarray(dataset[()])

    def _find_problem(self, dataset: Any) -> str | None:
        if dataset.external or dataset.is_virtual:
            return "keeps its data in another file, which is not opened"
        if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8:
            return f"holds {dataset.dtype}, not numbers"
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > (stored * MAX_RATIO if dataset.chunks else stored):
            return f"announces {dataset.nbytes:,} bytes, but {stored:,} are stored"
        if dataset.nbytes > self.budget or (dataset.chunks and _chunk_bytes(dataset) > MAX_FILE_BYTES):
            return f"and what is before it have more than {MAX_FILE_BYTES:,} bytes"
        filters = dataset.id.get_create_plist()
        known = (self.h5py.h5z.FILTER_DEFLATE, self.h5py.h5z.FILTER_SHUFFLE, self.h5py.h5z.FILTER_FLETCHER32)
        if any(filters.get_filter(i)[0] not in known for i in range(filters.get_nfilters())):
            return "is compressed in an unusual way"
        return None


def _chunk_bytes(dataset: Any) -> int:
    size = int(dataset.dtype.itemsize)
    for length in dataset.chunks:
        size *= length
    return size


def _layer_names(file: Any, arrays: Arrays) -> dict[str, str]:
    """The layers' own names by their group in a ``.weights.h5``, where the file tells them."""
    groups = {name.rpartition("/vars/")[0] for name in arrays if "/vars/" in name}
    names = {}
    for group in groups:
        name = file[f"{group}/vars"].attrs.get("name")
        if isinstance(name, str):
            names[group] = name
    return names if len(set(names.values())) == len(names) else {}


def _layers(path: Path, arrays: Arrays, names: Mapping[str, str]) -> tuple[Layer, ...]:
    groups: dict[str, Arrays] = {}
    for name, array in arrays.items():
        group, _, variable = name.rpartition("/")
        groups.setdefault(group.removesuffix("/vars"), {})[variable.removesuffix(":0")] = array
    layers = [_layer(path, group, content, names.get(group)) for group, content in groups.items()]
    if len({layer.name for layer in layers}) < len(layers):
        raise ModelFileError(f"{path}: two layers of one name; models within models are not read")
    return tuple(sorted(layers, key=lambda layer: natural_key(layer.name)))


def _layer(path: Path, group: str, arrays: Arrays, name: str | None) -> Layer:
    place = group.rpartition("/")[2]
    kind = natural_key(place)[0]
    if all(variable.isdecimal() for variable in arrays):
        variables = _VARIABLES.get(kind, ())
        if sorted(map(int, arrays)) != list(range(len(arrays))) or len(arrays) > len(variables):
            raise ModelFileError(f"{path}: the layer {place[:80]!a} has variables that are not expected")
        arrays = {variables[int(number)]: array for number, array in arrays.items()}
    return Layer(name or place, kind, {_plain(variable): array for variable, array in arrays.items()})


def _plain(variable: str) -> str:
    return "kernel" if variable == "depthwise_kernel" else variable
