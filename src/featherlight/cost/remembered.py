"""Measurements that are kept for the next time: a small JSON file in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from featherlight.errors import FeatherlightError
from featherlight.files import write_text

MAX_KEYS = 500
MAX_BYTES = 4 * 2**20


class Remembered:
    """A table by key. Whatever cannot be read is as if it were not there; what cannot be written is let go.

    Args:
        path: of the file.
        max_keys: of more, the oldest are forgotten.
    """

    def __init__(self, path: Path, max_keys: int = MAX_KEYS) -> None:
        self._path, self._max_keys = path, max_keys

    def get(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """What is known under ``key``; empty: nothing."""
        found = self._load().get(_text(key))
        return found if isinstance(found, dict) else {}

    def put(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """Remembers ``value`` in place of what was known."""
        known = self._load()
        known.pop(_text(key), None)  # the latest stands last, the oldest is forgotten first
        known[_text(key)] = dict(value)
        kept = dict(list(known.items())[-self._max_keys :])
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


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(dict(key), sort_keys=True)
