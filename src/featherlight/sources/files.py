"""Images that are files: read, seen by their size and time."""

from __future__ import annotations

import os
from dataclasses import dataclass

from featherlight.errors import UnreadableImageError
from featherlight.images import load_image, read_file, reason_unreadable
from featherlight.sources.base import RGBImage


@dataclass(frozen=True)
class FileReader:
    """Reads image ``i`` of a split from its file.

    Attributes:
        paths: absolute, in the split's order.
    """

    paths: tuple[str, ...]

    def __call__(self, index: int, at_least: int = 0) -> RGBImage:
        """See :class:`featherlight.sources.base.Reader`."""
        return load_image(self.paths[index], at_least=at_least)

    def encoded(self, index: int) -> bytes:
        """The file's bytes."""
        path = self.paths[index]
        try:
            return read_file(path)
        except (OSError, ValueError, UnreadableImageError) as error:
            raise UnreadableImageError(path, reason_unreadable(error)) from error

    def stamp(self, index: int) -> str | None:
        """Path, size and time of the last change; None for what is no file."""
        path = self.paths[index]
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return f"{path}|{status.st_size}|{status.st_mtime_ns}"
