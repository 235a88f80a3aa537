"""Options with a unit: bytes, pixels, seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


class Amount(click.ParamType[float]):
    """A positive number with one of the units.

    Args:
        name: shown in the help.
        units: unit -> how much it is; the empty one, if there, is for bare numbers.
        example: for the message about a mistake.
    """

    def __init__(self, name: str, units: Mapping[str, float], example: str) -> None:
        self.name = name
        self._units = units
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads ``20MB`` and the like; numbers stay as they are."""
        if isinstance(value, int | float):
            return float(value)
        match = _AMOUNT.fullmatch(str(value).strip())
        amount = float(match[1]) * self._units.get(match[2], 0.0) if match else 0.0
        if amount <= 0:
            units = ", ".join(unit for unit in self._units if unit)
            self.fail(f"{value!r} is no {self.name} ({units}), for example: {self._example}", param, ctx)
        return amount


SIZE = Amount(
    "size", {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}, "20MB"
)
PIXELS = Amount("number of pixels", {"": 1, "MP": 1e6}, "50MP")
TIME = Amount("time", {"ms": 1e-3, "s": 1, "m": 60}, "50ms")
