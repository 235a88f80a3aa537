"""What kind of data a text or folder means, as far as that is seen without opening it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from featherlight.sources.folder import is_image_name

Kind = Literal["shards", "hugging_face"]
HUB = "hf://"
PACKED_SHARDS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
WEB = ("http://", "https://")

SAVED_TABLES = ("dataset_dict.json", "state.json")  # written by Hugging Face's save_to_disk
_DEPTH = 2
_FOOTER = 2**20  # bytes at the end of a Parquet file that hold its description


def kind_of_data(data: str) -> Kind | None:
    """Shards or a Hugging Face data set; None: something else, or nothing."""
    if os.path.isdir(data):
        return _kind_of_folder(Path(data))
    if data.startswith(HUB) or _is_hub_table(data):
        return "hugging_face"
    first = data.partition("::")[0].lower()
    if first.endswith(PACKED_SHARDS) and os.path.isfile(data):
        return None  # CIFAR comes so
    return "shards" if first.endswith((".tar", *PACKED_SHARDS)) or first.startswith(WEB) else None


def _kind_of_folder(folder: Path) -> Kind | None:
    """Folders of images are told first: a shard or table may lie among them, pictures among tables hardly do."""
    if any((folder / name).is_file() for name in SAVED_TABLES) or _has_card(folder):
        return "hugging_face"
    found: Kind | None = None
    for path in _list_files(folder):
        if is_image_name(path):
            return None
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".tar":
            found = "shards"
        elif found is None and (suffix == ".arrow" or _is_hub_table(path)):
            found = "hugging_face"
    return found


def _is_hub_table(path: str) -> bool:
    """Whether a Parquet file was written by Hugging Face's library; others are manifests, which name image files."""
    if not path.lower().endswith(".parquet"):
        return False
    with suppress(OSError), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _FOOTER))
        return b"huggingface" in file.read()
    return False


def _has_card(folder: Path) -> bool:
    """Whether a README tells of tables, as the hub's do; such a folder may well have pictures for its page."""
    with suppress(OSError), (folder / "README.md").open("rb") as file:
        head = file.read(2**16)
        is_card = head.startswith(b"---") and (b"\ndataset_info:" in head or b"\nconfigs:" in head)
        return is_card and any(path.lower().endswith((".parquet", ".arrow")) for path in _list_files(folder))
    return False


def _list_files(folder: Path) -> Iterator[str]:
    """Paths of files, those of the folder itself first, then of folders in it, and of folders in those."""
    level = [str(folder)]
    for _ in range(_DEPTH + 1):
        below: list[str] = []
        for place in level:
            with suppress(OSError), os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        below.append(entry.path)
                    else:
                        yield entry.path
        level = below
