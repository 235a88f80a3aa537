"""Metadata beside a model whose format has no room for it: ``NAME.json``, with a checksum of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featherlight.engines.exported import ExportedCard, read_exported_card
from featherlight.errors import ModelFileError

MAX_BYTES = 32 * 2**20
MAX_MODEL_BYTES = 2**31 - 1
_CHECKSUMS = "sha256"
_TEXTS = ("featherlight", "model", "input")  # the others are JSON of their own


def sidecar_of(model: Path) -> Path:
    """Where the metadata of ``model`` lies."""
    return model.with_suffix(".json")


def write_sidecar(model: Path, exported: ExportedCard, names: Sequence[str]) -> None:
    """Writes the metadata beside ``model``; ``names`` are all of its files, in the same folder."""
    fields: dict[str, Any] = {
        name: text if name in _TEXTS else json.loads(text) for name, text in exported.to_metadata().items()
    }
    fields[_CHECKSUMS] = {name: _checksum(model.with_name(name)) for name in names}
    sidecar_of(model).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def read_sidecar(model: Path, names: Sequence[str]) -> ExportedCard:
    """Reads and checks the metadata, and that every file is the one that was exported.

    Runtimes of small devices do not check what they open, so damage must be found before.

    Args:
        model: the file that a runtime opens.
        names: the files that must be there, ``model`` among them.

    Raises:
        ModelFileError: no metadata, damaged or impossible; or a file is missing or is not the one that was exported.
    """
    place = sidecar_of(model)
    fields = _read_json(place, model)
    checksums = fields.pop(_CHECKSUMS, None)
    exported = read_exported_card(
        place, {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    )
    for name in names:
        _check_file(model.with_name(name), checksums.get(name) if isinstance(checksums, dict) else None)
    return exported


def _read_json(place: Path, model: Path) -> dict[str, Any]:
    try:
        if place.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{place}: larger than {MAX_BYTES // 2**20} MiB, which no model's description is")
        fields = json.loads(place.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(
            f"{model}: {place.name} is not beside it; it has classes and preprocessing, featherlight export writes it"
        ) from None
    except OSError as error:
        raise ModelFileError(f"{place}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{place}: is no JSON") from error
    if not isinstance(fields, dict):
        raise ModelFileError(f"{place}: is no JSON table")
    return fields


def _check_file(file: Path, expected: object) -> None:
    try:
        size = file.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelFileError(f"{file}: {size:,} bytes; at most {MAX_MODEL_BYTES:,} are accepted")
        found = _checksum(file)
    except OSError as error:
        raise ModelFileError(f"{file}: cannot be read ({error.strerror or error})") from error
    if found != expected:
        raise ModelFileError(
            f"{file}: is not the file that {sidecar_of(file).name} was written for, or is damaged; copy or export again"
        )


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()
