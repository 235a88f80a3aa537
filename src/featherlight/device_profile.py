"""Latencies that were measured on a device, as a file: measured there, planned with elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from featherlight.errors import DataError
from featherlight.files import write_text

FORMAT = "featherlight-device-profile"
VERSION = 1
MAX_BYTES = 16 * 2**20
_TEXTS = ("network", "engine", "precision")
_COUNTS = ("num_classes", "input_size", "batch", "threads", "size_bytes")
_NUMBERS = ("p50_ms", "p95_ms")


@dataclass(frozen=True)
class MeasuredNetwork:
    """How fast one network is in one setting.

    Attributes:
        network: registered name.
        num_classes: outputs.
        input_size: side of the image, pixels.
        engine: runtime.
        precision: ``float32``, ``bfloat16``, ``float16`` or ``int8``.
        batch: images at a time.
        threads: it computed with.
        p50_ms: half of the batches are faster.
        p95_ms: 95 % of the batches are faster.
        size_bytes: on disk.
        peak_memory_bytes: of a process that only runs this; None where nobody looked.
    """

    network: str
    num_classes: int
    input_size: int
    engine: str
    precision: str
    batch: int
    threads: int
    p50_ms: float
    p95_ms: float
    size_bytes: int
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class DeviceProfile:
    """What was measured on one device.

    Attributes:
        machine: processor or board, cores, system.
        facts: anything else about it: date, versions of the runtimes, memory.
        measurements: one for each network and setting.
    """

    machine: str
    facts: Mapping[str, Any]
    measurements: tuple[MeasuredNetwork, ...]

    def fastest(self, network: str, input_size: int, batch: int = 1) -> MeasuredNetwork | None:
        """The fastest setting of a network at this size and batch; None: it was not measured."""
        fitting = [
            row for row in self.measurements if (row.network, row.input_size, row.batch) == (network, input_size, batch)
        ]
        return min(fitting, key=lambda row: row.p50_ms, default=None)


def write_device_profile(path: Path, profile: DeviceProfile) -> None:
    """Writes a profile atomically.

    Raises:
        FeatherlightError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "machine": profile.machine,
        "facts": dict(profile.facts),
        "measurements": [asdict(row) for row in profile.measurements],
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_device_profile(path: str | Path) -> DeviceProfile:
    """Reads a profile; nothing in it is taken on trust.

    Raises:
        DataError: it is missing, damaged, or of a newer version.
    """
    path = Path(path)
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise DataError(f"{path}: no device profile; make one with: featherlight benchmark MODEL --save-profile FILE")
    if content.get("version") != VERSION:
        raise DataError(
            f"{path}: a device profile of version {content.get('version')!r:.20}; this Featherlight reads version "
            f"{VERSION}. Update it, or measure again"
        )
    machine, facts, rows = content.get("machine"), content.get("facts"), content.get("measurements")
    if not isinstance(machine, str) or not isinstance(facts, dict) or not isinstance(rows, list):
        raise DataError(f"{path}: damaged device profile (machine, facts or measurements are missing)")
    return DeviceProfile(machine, facts, tuple(_read_row(path, number, row) for number, row in enumerate(rows)))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes are too many for a device profile")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged device profile (no JSON)") from error
    return content if isinstance(content, dict) else {}


def _read_row(path: Path, number: int, row: object) -> MeasuredNetwork:
    names = {field.name for field in fields(MeasuredNetwork)}
    problem = _find_problem(row) if isinstance(row, dict) and set(row) == names else "other fields than expected"
    if problem or not isinstance(row, dict):
        raise DataError(f"{path}: measurement {number} is damaged ({problem})")
    return MeasuredNetwork(**row)


def _find_problem(row: Mapping[str, Any]) -> str | None:
    for name in _TEXTS:
        if not isinstance(row[name], str) or not 0 < len(row[name]) <= 200:
            return f"{name} is no name"
    memory = row["peak_memory_bytes"]
    counts = [(name, row[name]) for name in _COUNTS] + ([] if memory is None else [("peak_memory_bytes", memory)])
    for name, value in counts:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            return f"{name} is no positive whole number"
    for name in _NUMBERS:
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            return f"{name} is no positive number"
    return None
