"""The web page: which files it consists of, and where they are. Nothing builds them."""

from __future__ import annotations

from pathlib import Path

_STATIC = Path(__file__).with_name("static")
PAGE_FILES = tuple(sorted(path.name for path in _STATIC.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")))


def page_file(name: str) -> Path:
    """Where a file of the page is; the path may name nothing."""
    return _STATIC / name
