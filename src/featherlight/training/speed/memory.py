"""What former runs found out about the speed of a network on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from featherlight.cost.latency import machine_name
from featherlight.cost.remembered import MAX_KEYS, Remembered
from featherlight.files import cache_folder

__all__ = ["MAX_KEYS", "Memory"]

FILE_NAME = "speed.json"


class Memory:
    """Seconds by plan for one network, batch and machine, in one small file of the cache folder.

    Args:
        subject: what was measured besides the machine and the versions: network, size, batch, device and so on.
        path: of the file.
    """

    def __init__(self, subject: dict[str, Any], path: Path | None = None) -> None:
        self._table = Remembered(path or cache_folder() / FILE_NAME)
        self._key = {**subject, "machine": machine_name(), "torch": torch.__version__}

    def read(self) -> dict[str, tuple[float, float]]:
        """Seconds of a step and of the start, by plan; whatever cannot be read is as if it were not there."""
        pairs = self._table.get(self._key).items()
        return {str(plan): (float(pair[0]), float(pair[1])) for plan, pair in pairs if _is_measured(pair)}

    def add(self, seconds: dict[str, tuple[float, float]]) -> None:
        """Remembers plans beside those that are known. A cache that cannot be written is no reason to stop."""
        if seconds:
            self._table.put(self._key, {plan: list(pair) for plan, pair in {**self.read(), **seconds}.items()})


def _is_measured(pair: Any) -> bool:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(value, (int, float)) for value in pair)
    return numbers and pair[0] > 0 and pair[1] >= 0
