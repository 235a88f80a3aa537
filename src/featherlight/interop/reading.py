"""Files of weights: any known kind becomes named tensors. Nothing in them is executed, sizes are bounded."""

from __future__ import annotations

import io
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from featherlight.errors import ModelFileError
from featherlight.interop import keras_file, mindspore_file
from featherlight.interop.archive import open_archive, read_member
from featherlight.interop.weights import Weights
from featherlight.model_file import MAX_TENSORS, read_shapes

MAX_FILE_BYTES = 2**30  # the largest network here has 26 MB of weights; optimisers keep two or three copies
_NESTED = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put the weights
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_MAX_NESTING = 3


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        kind: what it is called in messages.
        recognise: whether a file with this path and these first bytes is one.
        read: reads it.
    """

    kind: str
    recognise: Callable[[Path, bytes], bool]
    read: Callable[[Path], Weights]


def read_weights(path: str | Path) -> Weights:
    """Reads a file of weights, of whatever kind.

    Raises:
        ModelFileError: there is no such file, it is too large, damaged, or of no known kind.
    """
    file = Path(path)
    if not os.path.isfile(file):
        raise ModelFileError(f"{file}: no such file of weights")
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ModelFileError(f"{file}: {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise ModelFileError(f"{file}: cannot be read ({error.strerror or error})") from error
    for reader in READERS:
        if reader.recognise(file, start):
            return reader.read(file)
    kinds = ", ".join(reader.kind for reader in READERS)
    raise ModelFileError(f"{file}: not a file of weights that can be read ({kinds})")


def _is_safetensors(path: Path, start: bytes) -> bool:  # noqa: ARG001
    return start[8:9] == b"{"


def _read_safetensors(path: Path) -> Weights:
    read_shapes(path)  # checks the header first
    try:
        return Weights(_strip_prefixes(dict(load_file(path))))
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: damaged file of weights ({str(error)[:200]!a})") from error


def _is_torch(path: Path, start: bytes) -> bool:  # noqa: ARG001
    return start.startswith((b"PK\x03\x04", b"\x80"))  # a zip, or a bare pickle as before version 1.6


def _read_torch(path: Path) -> Weights:
    with path.open("rb") as file:
        found = _load_pickle(path, _unzipped(path, file))
    return Weights(_strip_prefixes(_find_state_dict(path, found)))


def _unzipped(path: Path, file: BinaryIO) -> BinaryIO:
    """The file itself, or the one PyTorch file in it, if it is an archive around one (as pytorchcv publishes them)."""
    archive = open_archive(path, file)
    entries = archive.infolist() if archive else []
    if archive and len(entries) == 1 and entries[0].filename.endswith((".pth", ".pt")):
        file = io.BytesIO(read_member(path, archive, entries[0]))
        open_archive(path, file)
    file.seek(0)
    return file


def _load_pickle(path: Path, file: BinaryIO) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read is an error anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path}: holds more than weights, or is damaged, so it is not loaded. If you trust it, write the weights "
            "alone where it came from: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except Exception as error:  # whatever a damaged file makes of the unpickler
        raise ModelFileError(f"{path}: damaged file of weights ({str(error)[:200]!a})") from error


def _find_state_dict(path: Path, found: object) -> dict[str, Tensor]:
    """The weights of a network, which training scripts like to put into a dictionary of everything."""
    for _ in range(_MAX_NESTING):
        inner = [found[name] for name in _NESTED if isinstance(found, Mapping) and isinstance(found.get(name), Mapping)]
        found = inner[0] if inner else found
    if not isinstance(found, Mapping) or not found or not all(map(_is_named_tensor, found.items())):
        raise ModelFileError(f"{path}: no weights of a network in it (a dictionary from names to tensors is expected)")
    if len(found) > MAX_TENSORS:
        raise ModelFileError(f"{path}: {len(found):,} tensors; at most {MAX_TENSORS:,} are accepted")
    return dict(found)


def _is_named_tensor(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(_MAX_NESTING):
        for prefix in _PREFIXES:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


READERS = (
    Reader("safetensors", _is_safetensors, _read_safetensors),
    Reader("Keras", keras_file.is_keras, keras_file.read_weights),  # before PyTorch: both use zip files
    Reader("PyTorch", _is_torch, _read_torch),
    Reader("MindSpore", mindspore_file.is_mindspore, mindspore_file.read_weights),
)
