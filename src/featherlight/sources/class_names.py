"""Names of classes that lie beside shards: ``classes.txt``, or a JSON file that tells of the data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from featherlight.errors import DataError, DownloadError, FeatherlightError
from featherlight.files import cache_folder, write_text
from featherlight.sources.remote_shards import ask_servers

_FILES = ("classes.txt", "dataset_info.json", "_info.json", "info.json")
_KEYS = ("classes", "class_names", "label_names", "names")
_MAX_BYTES = 2**24


def find_class_names(folders: Sequence[str]) -> list[str] | None:
    """Names in the order that numeric labels count them; None: nobody wrote them down.

    Args:
        folders: paths or URLs, to be looked into in this order.

    Raises:
        DataError: a file with names cannot be read.
    """
    places = [f"{folder}/{file}" for folder in folders for file in _FILES]
    return _find_remote(places) if "://" in places[0] else _find_local(places)


def _find_local(places: Sequence[str]) -> list[str] | None:
    found = (_read(Path(place), place) for place in places if Path(place).is_file())
    return next((names for names in found if names), None)


def _find_remote(urls: Sequence[str]) -> list[str] | None:
    """Looked up each time, since they may have been put right; remembered for when the server cannot be reached."""
    name = hashlib.blake2b(urls[0].encode(), digest_size=16).hexdigest()
    memory = cache_folder() / "shards" / "index" / f"{name}-names.json"
    names = None
    for url in urls:
        try:
            (file,) = ask_servers([url])
            path = None if file is None else file.bring()
        except (DataError, DownloadError):  # there is no such file
            continue
        if path is None:
            return _recall(memory)
        names = _read(path, url)
        if names:
            break
    with suppress(FeatherlightError):
        write_text(memory, json.dumps(names))
    return names


def _recall(memory: Path) -> list[str] | None:
    with suppress(OSError, ValueError):
        names = json.loads(memory.read_text(encoding="utf-8"))
        return names if _are_names(names) else None
    return None


def _read(path: Path, shown: str) -> list[str] | None:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MAX_BYTES)
        content = json.loads(text) if shown.endswith(".json") else text
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{shown}: holds no class names that can be read ({error})") from error
    if not isinstance(content, str):
        return _find_names(content)
    is_page = content.lstrip().startswith("<")  # some servers have an answer to everything
    return None if is_page else [line.strip() for line in content.splitlines() if line.strip()]


def _find_names(content: Any) -> list[str] | None:
    """The first list of names in a description; Hugging Face's has them deep inside."""
    if not isinstance(content, dict):
        return None
    own = (content[key] for key in _KEYS if key in content)
    below = (_find_names(value) for value in content.values())
    return next((names for names in (*own, *below) if _are_names(names)), None)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
