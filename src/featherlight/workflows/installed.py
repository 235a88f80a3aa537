"""Which packages our own metadata asks for, and which of them are installed."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, requires, version

_NAME = "featherlight"
# What the build writes: NAME[extras]>=MINIMUM; python_version < '3.11' and extra == 'train'. A test holds it.
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,-]+)\])?(?:>=(?P<minimum>[\d.]+))?(?:; (?P<marker>.+))?"
)
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_OLD_PYTHON = re.compile(r"python_version < ['\"](\d+)\.(\d+)['\"]")


@dataclass(frozen=True)
class Package:
    """Something we need: the least version, and the one that is installed, if any."""

    name: str
    minimum: str
    version: str | None

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}>={self.minimum}" if self.minimum else self.name

    @property
    def is_satisfied(self) -> bool:
        """It is installed and new enough."""
        return self.version is not None and _release(self.version) >= _release(self.minimum)


def extras() -> tuple[str, ...]:
    """Our optional parts."""
    return tuple(sorted(metadata(_NAME).get_all("Provides-Extra") or ()))


def dependencies_of(extra: str) -> tuple[Package, ...]:
    """The packages of an extra, those of the extras that it consists of among them; ``""`` is the base."""
    found: dict[str, Package] = {}
    for line in requires(_NAME) or ():
        match = _REQUIREMENT.fullmatch(line)
        if match is None:
            raise ValueError(f"cannot read the requirement {line!r}")
        marker = match["marker"] or ""
        named = _EXTRA.search(marker)
        if (named[1] if named else "") != extra or not _is_for_this_python(marker):
            continue
        if match["name"] == _NAME:
            parts = [package for part in match["extras"].split(",") for package in dependencies_of(part)]
        else:
            parts = [Package(match["name"], match["minimum"] or "", installed_version(match["name"]))]
        found.update({package.name: package for package in parts})
    return tuple(found.values())


@cache
def installed_version(name: str) -> str | None:
    """Of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def install_command(extra: str) -> str:
    """What to type to get an extra."""
    return f'pip install "{_NAME}[{extra}]"'


def _is_for_this_python(marker: str) -> bool:
    limit = _OLD_PYTHON.search(marker)
    return limit is None or sys.version_info[:2] < (int(limit[1]), int(limit[2]))


def _release(text: str) -> tuple[int, ...]:
    """``2.9.1+cpu`` -> (2, 9, 1); zeros at the end do not count."""
    leading = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in leading[0].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
