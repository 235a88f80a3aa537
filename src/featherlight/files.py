"""Files that are whole or not there: written beside their target, then renamed."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from featherlight.errors import FeatherlightError

_HERE, _RENAME_EXCHANGE = -100, 2  # of Linux: AT_FDCWD, and the flag of renameat2


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
        publish_file(temporary, target)
    except OSError as error:
        raise FeatherlightError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it is in its place, or the folder has become read-only
            temporary.unlink()


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``target``, for :func:`replace_folder` or to rename files out of; then removes it.

    Raises:
        FeatherlightError: the folder cannot be written to, or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=_staging_prefix(target)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise FeatherlightError(f"cannot write {target}: {error.strerror or error}") from error


def sweep_staging(target: Path) -> None:
    """Removes the staging folders of ``target`` that kills left; only for whoever knows that nobody else uses one."""
    for folder in target.parent.glob(f"{_staging_prefix(target)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _staging_prefix(target: Path) -> str:
    return f".{target.name[:20]}-"


@contextmanager
def held_alone(file: Path) -> Iterator[bool]:
    """Whether this process alone holds the lock ``file``, which a kill lets go; yes where there are no locks."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError):  # a file system without locks: better unguarded than not at all
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


def replace_folder(staging: Path, target: Path) -> None:
    """Makes the folder ``staging`` the folder ``target``, all of its files at once.

    Where the system can exchange two names (Linux), a reader sees the old folder or the new one. Elsewhere an old one
    is renamed for the moment between; a kill in that moment leaves it whole beside its place.
    """
    for path in staging.rglob("*"):
        if path.is_file():
            _finish_file(path)
    staging.chmod(0o777 & ~_umask())
    if not target.exists():
        staging.rename(target)
        return
    if not _exchange(staging, target):
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:20]}-old-"))
        target.rename(old)
        staging.rename(target)
        old.rename(staging)
    shutil.rmtree(staging, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux, or a C library without it
        return False
    paths = (_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()))
    return bool(renameat2(*paths, _RENAME_EXCHANGE) == 0)


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


def publish_file(temporary: Path, target: Path) -> None:
    """Gives a whole file on the same disk its name."""
    _finish_file(temporary)
    temporary.replace(target)


def _finish_file(path: Path) -> None:
    _flush_to_disk(path)
    path.chmod(0o666 & ~_umask())


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:  # mkstemp makes private files; results should have the user's usual permissions
    mask = os.umask(0)
    os.umask(mask)
    return mask
