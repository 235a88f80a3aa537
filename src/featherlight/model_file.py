"""The one file a model is: weights, network, classes, preprocessing and where it came from.

A safetensors file; everything but the weights stands as JSON in its metadata. Files are hostile until
shown otherwise: sizes are bounded before anything is parsed, every value is checked, nothing is executed.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from featherlight.errors import ModelFileError
from featherlight.files import write_bytes
from featherlight.images import Preprocessing

MODEL_FILE_NAME = "model.safetensors"
EXPORTED_SUFFIXES = (".onnx", ".xml", ".param", ".tflite", ".pte")
EXPORTED_NAMES = tuple(f"model{suffix}" for suffix in EXPORTED_SUFFIXES)  # in an exported folder
_BESIDE = {".xml": (".bin",), ".param": (".bin", ".json"), ".tflite": (".json",), ".pte": (".json",)}  # needed with it
SHIPPED = {  # models that come with the package, by the name that takes the place of a path
    "cifar10": Path(__file__).with_name("shipped") / "cifar10.safetensors",
}
NETWORK_NAME = re.compile(r"(shufflenet|mobilenet)_v\d\w*(\.\w+)?")
MAX_HEADER_BYTES = 8 * 2**20  # the zoo's largest header, with 10,000 class names, is below 1 MiB
MAX_TENSORS = 10_000
MAX_CLASSES = 100_000
REJECT_SCORES = ("energy", "probability")
_LARGEST = sys.float_info.max
MAX_NAME = 200  # characters of a network's name

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about its model.

    Attributes:
        model: registered network name.
        arguments: keyword arguments for ``create_model``.
        classes: names in the order of the logits.
        preprocessing: how an image becomes the network's input.
        temperature: logits are divided by it before the softmax (Guo et al. 2017).
        provenance: data, fingerprint, recipe, metrics and versions; information only.
        reject: when an image is none of the classes: ``score``, ``energy`` or ``probability``, ``threshold``, below
            which it is rejected, and how that was fitted (see :mod:`featherlight.metrics.rejection`); None: never.
    """

    model: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reject: Mapping[str, Any] | None = None


def find_model_file(model: str | Path) -> Path:
    """Finds the model file that ``model`` names: a run directory, an exported folder, or the file itself.

    ``cifar10`` is the model that comes with the package, unless there is something of that name in this folder.

    Raises:
        ModelFileError: there is nothing at that path, or a directory that is no finished run.
    """
    path = Path(model)
    if str(model) in SHIPPED and not os.path.exists(path):
        return SHIPPED[str(model)]
    if os.path.isdir(path):  # unlike pathlib's, false for names that no file can have
        for name in (MODEL_FILE_NAME, *EXPORTED_NAMES):
            if (path / name).is_file():
                return path / name
        exported = [file for suffix in EXPORTED_SUFFIXES for file in path.glob(f"*{suffix}") if file.is_file()]
        if len(exported) == 1:
            return exported[0]
        if (path / "recipe.toml").is_file():
            raise ModelFileError(f"{path}: this run is not finished. Go on with: featherlight train --resume {path}")
        raise ModelFileError(f"{path}: no {MODEL_FILE_NAME} in this folder; name a run directory or a model file")
    if not os.path.isfile(path):
        name = str(model)
        is_network = NETWORK_NAME.fullmatch(name)
        hint = (
            f"; train one: featherlight train DATA --model {name}"
            if is_network
            else "; runs are listed by: featherlight runs"
        )
        raise ModelFileError(f"{path}: no such model file or run directory{hint}")
    return path


def model_files(path: Path) -> list[tuple[str, bytes]]:
    """All files that a model file needs, itself first, as names and contents.

    Raises:
        ModelFileError: one cannot be read.
    """
    beside = [path.with_suffix(suffix) for suffix in _BESIDE.get(path.suffix, ())]
    try:
        return [(file.name, file.read_bytes()) for file in (path, *beside)]
    except OSError as error:
        raise ModelFileError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


def write_model_file(path: Path, tensors: Mapping[str, NDArray[Any]], card: ModelCard) -> None:
    """Writes weights and card to ``path`` atomically.

    Raises:
        FeatherlightError: the file cannot be written.
    """
    write_bytes(
        path, save({name: np.asarray(array, order="C") for name, array in tensors.items()}, card_to_metadata(card))
    )


def card_to_metadata(card: ModelCard) -> dict[str, str]:
    """The card as the texts that a file's metadata holds."""
    reject = {} if card.reject is None else {"reject": json.dumps(dict(card.reject))}
    return {  # JSON in ASCII: names of folders that are no UTF-8 hold surrogates, which the format refuses
        "featherlight": version("featherlight"),
        "model": card.model,
        "arguments": json.dumps(dict(card.arguments)),
        "classes": json.dumps(list(card.classes)),
        "preprocessing": json.dumps(card.preprocessing.to_dict()),
        "temperature": repr(float(card.temperature)),
        "provenance": json.dumps(dict(card.provenance)),
        **reject,
    }


def read_card(path: Path) -> ModelCard:
    """Reads and checks what ``path`` says about its model, without reading the weights.

    Raises:
        ModelFileError: the file is damaged, foreign, or says something impossible.
    """
    metadata = _read_header(path).get("__metadata__")
    if not isinstance(metadata, dict) or "featherlight" not in metadata or "model" not in metadata:
        raise ModelFileError(
            f"{path}: a safetensors file, but not a Featherlight model (no network, classes or preprocessing inside)"
        )
    return card_from_metadata(path, metadata)


def card_from_metadata(path: Path, metadata: Mapping[str, Any]) -> ModelCard:
    """Reads and checks what :func:`card_to_metadata` wrote; ``path`` is for messages.

    Raises:
        ModelFileError: a field is missing or says something impossible.
    """
    card = ModelCard(
        model=_checked_name(path, metadata["model"]),
        arguments=json_field(path, metadata, "arguments", dict),
        classes=_checked_classes(path, json_field(path, metadata, "classes", list)),
        preprocessing=_read_preprocessing(path, json_field(path, metadata, "preprocessing", dict)),
        temperature=_checked_temperature(path, metadata.get("temperature", "1.0")),
        provenance=json_field(path, metadata, "provenance", dict),
        reject=_checked_reject(path, json_field(path, metadata, "reject", dict)) if "reject" in metadata else None,
    )
    _check_fit(path, card)
    return card


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in ``path``, from its header alone."""
    header = _read_header(path)
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def read_tensors(path: Path) -> Tensors:
    """Reads the weights.

    Raises:
        ModelFileError: the file is damaged.
    """
    _read_header(path)
    try:
        tensors = dict(load_file(path))
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: damaged model file ({str(error)[:200]!a})") from error
    foreign = {str(array.dtype) for array in tensors.values() if array.dtype.kind not in "fiub"}
    if foreign:  # packages such as ONNX's teach NumPy types that nobody else computes with
        raise ModelFileError(f"{path}: damaged model file (it holds {', '.join(sorted(foreign))})")
    return tensors


def _read_header(path: Path) -> dict[str, Any]:
    """The JSON header, after checks that keep time and memory bounded."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= size - 8:
                raise ModelFileError(f"{path}: not a model file, or cut off (safetensors expected)")
            if length > MAX_HEADER_BYTES:
                raise ModelFileError(f"{path}: header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are accepted")
            raw = file.read(length)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a model file (its header is no JSON)") from error
    _check_entries(path, header)
    return dict(header)


def _check_entries(path: Path, header: object) -> None:
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: not a model file (its header is no table)")
    if len(header) > MAX_TENSORS:
        raise ModelFileError(f"{path}: {len(header):,} tensors; at most {MAX_TENSORS:,} are accepted")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ModelFileError(f"{path}: damaged model file (tensor {name[:80]!r} has no proper shape)")


def json_field(path: Path, metadata: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field of the metadata that is JSON of this kind."""
    try:
        value = json.loads(metadata[name])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its {name!r} is missing or unreadable") from error
    if not isinstance(value, kind):
        raise ModelFileError(f"{path}: its {name!r} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _checked_name(path: Path, name: object) -> str:
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
        raise ModelFileError(f"{path}: its 'model' is no network's name")
    return name


def _read_preprocessing(path: Path, values: Mapping[str, Any]) -> Preprocessing:
    try:
        return Preprocessing.from_dict(values)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _check_fit(path: Path, card: ModelCard) -> None:
    outputs, named = card.arguments.get("num_classes"), len(card.classes)
    if outputs != named:
        raise ModelFileError(f"{path}: the network has {outputs!r:.40} outputs, but {named} classes are named")
    taken, given = card.arguments.get("in_channels", 3), card.preprocessing.in_channels
    if taken != given:
        raise ModelFileError(f"{path}: the network takes {taken!r:.40} channels, but the preprocessing gives {given}")


def _checked_classes(path: Path, classes: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise ModelFileError(f"{path}: class names must be different texts")
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise ModelFileError(f"{path}: {len(classes)} classes; 1 to {MAX_CLASSES:,} are accepted")
    return tuple(classes)


def _checked_temperature(path: Path, text: object) -> float:
    try:
        temperature = float(str(text))
    except ValueError:
        temperature = math.nan
    if not (math.isfinite(temperature) and temperature > 0):
        raise ModelFileError(f"{path}: its temperature is {str(text)[:40]!r}, not a positive number")
    return temperature


def _checked_reject(path: Path, reject: dict[str, Any]) -> dict[str, Any]:
    problem = find_reject_problem(reject)
    if problem:
        raise ModelFileError(f"{path}: {problem}")
    return reject


def find_reject_problem(reject: Mapping[str, Any]) -> str | None:
    """Why no image can be rejected by this field of a card; None: it can."""
    score = reject.get("score")
    threshold: Any = reject.get("threshold")
    if score not in REJECT_SCORES:
        return f"it rejects images by {score!r:.40}, not by {' or '.join(REJECT_SCORES)}"
    is_number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not is_number or not -_LARGEST <= threshold <= _LARGEST:  # a whole number may have 400 digits
        return f"it rejects images below {threshold!r:.40}, which is no number"
    return None
