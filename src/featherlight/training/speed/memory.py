"""What former runs found out about the speed of a network on this machine."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from featherlight.cost.latency import machine_name
from featherlight.errors import FeatherlightError
from featherlight.files import cache_folder, write_text

FILE_NAME = "speed.json"
MAX_KEYS = 500
MAX_BYTES = 4 * 2**20


class Memory:
    """Seconds by plan for one network, batch and machine, in one small file of the cache folder.

    Args:
        subject: what was measured besides the machine and the versions: network, size, batch, device and so on.
        path: of the file.
    """

    def __init__(self, subject: dict[str, Any], path: Path | None = None) -> None:
        self._path = path or cache_folder() / FILE_NAME
        self._key = json.dumps({**subject, "machine": machine_name(), "torch": torch.__version__}, sort_keys=True)

    def read(self) -> dict[str, tuple[float, float]]:
        """Seconds of a step and of the start, by plan; whatever cannot be read is as if it were not there."""
        found = self._load().get(self._key, {})
        pairs = found.items() if isinstance(found, dict) else ()
        return {str(plan): (float(pair[0]), float(pair[1])) for plan, pair in pairs if _is_measured(pair)}

    def add(self, seconds: dict[str, tuple[float, float]]) -> None:
        """Remembers plans beside those that are known. A cache that cannot be written is no reason to stop."""
        known = self._load()
        if not seconds:
            return
        merged = {**self.read(), **seconds}
        known.pop(self._key, None)  # the latest stands last, the oldest is forgotten first
        known[self._key] = {plan: list(pair) for plan, pair in merged.items()}
        kept = dict(list(known.items())[-MAX_KEYS:])
        with suppress(FeatherlightError):
            write_text(self._path, json.dumps(kept, indent=1))

    def _load(self) -> dict[str, Any]:
        try:
            if self._path.stat().st_size > MAX_BYTES:
                return {}
            loaded = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return loaded if isinstance(loaded, dict) else {}


def _is_measured(pair: Any) -> bool:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(value, (int, float)) for value in pair)
    return numbers and pair[0] > 0 and pair[1] >= 0
