"""Keras weight files without Keras or TensorFlow: legacy ``.h5``, ``.weights.h5`` and ``.keras``.

What they hold (read off files of tf_keras 2.21 and Keras 3.15):

- legacy ``.h5``: ``[model_weights/]<layer>/.../<variable>``, and in a whole model the attribute ``model_config``;
- ``.weights.h5``: ``layers/<class>_<counter>/vars/<number>``. Counters follow the order of ``model.layers``, not that
  of construction; newer Keras adds the layer's own name as an attribute of ``vars``;
- ``.keras``: a zip with ``config.json`` and ``model.weights.h5``.

Nothing in a file is executed: of a configuration only names, classes and connections are read.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from featherlight.errors import ModelFileError
from featherlight.interop.archive import open_archive, read_member
from featherlight.interop.hdf5 import Arrays, read_hdf5
from featherlight.interop.weights import Weights

MAX_FILE_BYTES = 2**30
MAX_CONFIG_BYTES = 64 * 2**20
MAX_RATIO = 100  # how often larger than stored something may become; weights hardly compress

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MAGIC = b"\x89HDF\r\n\x1a\n"
PATH, KIND, CONFIG, NAMED = "path", "kind", "config", "named"  # what the weights' metadata tell
# Variables of the layers that have numbered ones, in Keras's order.
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_NOT_WEIGHTS = ("optimizer", "optimizer_weights", "metrics")  # at the top of a file
_RANDOM_STATE = "seed_generator"  # of dropout
_COUNTED = re.compile(r"(.+?)(?:_(\d+))?")


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


def is_keras(path: Path, start: bytes) -> bool:
    """Whether a file with these first bytes is HDF5, or a zip with HDF5 in it as Keras makes them."""
    if start.startswith(_MAGIC):
        return True
    if not start.startswith(b"PK"):
        return False
    with path.open("rb") as file:
        archive = open_archive(path, file)
        return archive is not None and _WEIGHTS in archive.namelist()


def read_weights(path: Path) -> Weights:
    """As :func:`read_keras`, by names like ``conv2d_7/kernel``; the metadata tell kinds and configuration."""
    file = read_keras(path)
    tensors = {
        f"{layer.name}/{variable}": torch.from_numpy(array)
        for layer in file.layers
        for variable, array in layer.arrays.items()
    }
    kinds = {layer.name: layer.kind for layer in file.layers}
    return Weights(tensors, {PATH: path, KIND: kinds, CONFIG: file.config, NAMED: file.named})


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
        return _from_hdf5(path, data, config)
    return _from_hdf5(path, data, _config_beside(path))


def _config_beside(path: Path) -> Mapping[str, Any] | None:
    beside = path.with_name(path.name.removesuffix(".h5").removesuffix(".weights") + ".json")
    try:
        with beside.open("rb") as file:
            config = _parse_config(beside, file.read(MAX_CONFIG_BYTES + 1))
            return config if "class_name" in config else None
    except (OSError, ModelFileError):  # none there, or something else: class names, say
        return None


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
    archive = open_archive(path, BytesIO(data))
    if archive is None:
        raise ModelFileError(f"{path}: not a readable .keras file, perhaps cut off")
    config = _parse_config(path, _member(path, archive, _CONFIG, MAX_CONFIG_BYTES))
    return config, _member(path, archive, _WEIGHTS, MAX_FILE_BYTES)


def _member(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise ModelFileError(f"{path}: a .keras file has one {name} in it, this one has {len(found)}")
    member = found[0]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelFileError(f"{path}: {name} is compressed in an unusual way")
    if member.file_size > min(limit, member.compress_size * MAX_RATIO):
        raise ModelFileError(f"{path}: {name} unpacks to {member.file_size:,} bytes, beyond all measure")
    return read_member(path, archive, member)


def _from_hdf5(path: Path, data: bytes, config: Mapping[str, Any] | None) -> KerasFile:
    content = read_hdf5(path, data, ("model_config", "name"), _is_for_training)
    if "model_config" in content.texts:
        config = _parse_config(path, content.texts["model_config"])
    names = {
        group.removesuffix("/vars/name"): name for group, name in content.texts.items() if group.endswith("/vars/name")
    }
    groups: dict[str, Arrays] = {}
    for name, array in content.arrays.items():
        group, _, variable = name.rpartition("/")
        groups.setdefault(group.removesuffix("/vars"), {})[variable.removesuffix(":0")] = array
    is_numbered = any(name.rpartition("/")[0].endswith("/vars") for name in content.arrays)
    named = not is_numbered or names.keys() >= groups.keys()
    layers = [_layer(path, group, arrays, names.get(group) if named else None) for group, arrays in groups.items()]
    if len({layer.name for layer in layers}) < len(layers):
        raise ModelFileError(f"{path}: two layers of one name; models within models are not read")
    return KerasFile(tuple(sorted(layers, key=lambda layer: natural_key(layer.name))), config, named)


def _is_for_training(group: str) -> bool:
    return group in _NOT_WEIGHTS or group.endswith(f"/{_RANDOM_STATE}")


def _layer(path: Path, group: str, arrays: Arrays, name: str | None) -> Layer:
    place = group.rpartition("/")[2]
    kind = _kind(place, arrays)
    if all(variable.isdecimal() for variable in arrays):
        variables = _VARIABLES.get(kind, ())
        if sorted(map(int, arrays)) != list(range(len(arrays))) or len(arrays) > len(variables):
            raise ModelFileError(f"{path}: the layer {place[:80]!a} has variables that are not expected")
        arrays = {variables[int(number)]: array for number, array in arrays.items()}
    return Layer(name or place, kind, {_plain(variable): array for variable, array in arrays.items()})


def _kind(place: str, arrays: Arrays) -> str:
    """The layer's class, by the name of its place, or by its variables where it has a name of its own."""
    counted = natural_key(place)[0]
    if counted in _VARIABLES:
        return counted
    if "gamma" in arrays:
        return "batch_normalization"
    if "kernel" in arrays:
        return "dense" if arrays["kernel"].ndim == 2 else "conv2d"
    return "depthwise_conv2d" if "depthwise_kernel" in arrays else counted


def _plain(variable: str) -> str:
    return "kernel" if variable == "depthwise_kernel" else variable
