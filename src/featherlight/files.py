"""Files that are whole or not there: written beside their target, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from featherlight.errors import FeatherlightError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``target``; on success the file there becomes ``target``.

    A reader sees the old file or the new one, never a part. When the body raises, nothing is left
    behind. The name keeps the target's suffix, since some writers choose the format by it.

    Raises:
        FeatherlightError: the folder cannot be written to, or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:20]}-", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise FeatherlightError(f"cannot write {target}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise FeatherlightError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it is in its place, or the folder has become read-only
            temporary.unlink()


def write_text(target: Path, text: str) -> None:
    """Writes UTF-8 ``text`` to ``target`` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, data: bytes) -> None:
    """Writes ``data`` to ``target`` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def cache_folder() -> Path:
    """Where things are kept that can be made again: ``$FEATHERLIGHT_CACHE``, else the user's cache folder."""
    own = os.environ.get("FEATHERLIGHT_CACHE")
    if own:
        return Path(os.path.expanduser(own))
    return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "featherlight"


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:  # mkstemp makes private files; results should have the user's usual permissions
    mask = os.umask(0)
    os.umask(mask)
    return mask
