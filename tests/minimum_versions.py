"""Prints constraints for pip that are our declared minimums: ``python tests/minimum_versions.py > constraints.txt``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def read_minimums() -> dict[str, str]:
    """Package -> the least version that any part of us declares."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for part in project["optional-dependencies"].values() for line in part)]
    found = (re.match(r"([\w.-]+)>=([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={minimum}\n" for name, minimum in sorted(read_minimums().items()))
