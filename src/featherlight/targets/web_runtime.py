"""ONNX Runtime for browsers: two files of the package ``onnxruntime-web``, given in a folder or fetched once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featherlight.download import fetch
from featherlight.errors import DownloadError, UsageError
from featherlight.files import cache_folder

VERSION = "1.30.0"
MIN_VERSION = (1, 20)  # the first with these files
SCRIPT, BINARY = "onnxruntime.js", "onnxruntime.wasm"  # in the exported folder: many web servers do not know .mjs
RUNTIME_FILES: Mapping[str, str] = {SCRIPT: "ort.wasm.bundle.min.mjs", BINARY: "ort-wasm-simd-threaded.wasm"}
SUMS: Mapping[str, str] = {  # SHA-256 in VERSION
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SERVER = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist"
MIRROR = "FEATHERLIGHT_MIRROR"  # an environment variable: a server that has the files under their names
MAX_BYTES = 32 * 2**20
TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Runtime:
    """Name in the exported folder -> file, and what version they are of."""

    files: Mapping[str, Path]
    version: str


def find_runtime(folder: str | Path | None) -> Runtime:
    """The runtime in ``folder``, or the one that is fetched once and kept in the cache folder.

    Args:
        folder: where npm installed the package: the package itself, its ``dist``, or the folder above ``node_modules``.

    Raises:
        UsageError: there is none in ``folder``, or one that is too old.
        DownloadError: it cannot be fetched.
    """
    return _fetched() if folder is None else _given(Path(folder))


def _fetched() -> Runtime:
    place = cache_folder() / f"onnxruntime-web-{VERSION}"
    server = (os.environ.get(MIRROR) or SERVER).rstrip("/")
    try:
        files = {
            name: fetch(
                f"{server}/{source}", place / source, sha256=SUMS[name], max_bytes=MAX_BYTES, timeout_s=TIMEOUT_S
            )
            for name, source in RUNTIME_FILES.items()
        }
    except DownloadError as error:
        raise DownloadError(
            f"{error}. Or take it from npm: npm install onnxruntime-web@{VERSION}, then add --runtime node_modules"
        ) from error
    return Runtime(files, VERSION)


def _given(folder: Path) -> Runtime:
    package = Path("onnxruntime-web")
    for inside in (Path(), "dist", package / "dist", "node_modules" / package / "dist"):
        place = folder / inside
        files = {name: place / source for name, source in RUNTIME_FILES.items()}
        if all(file.is_file() for file in files.values()):
            return Runtime(files, _checked_version(files[SCRIPT]))
    raise UsageError(
        f"{folder}: no {' and '.join(RUNTIME_FILES.values())} there; name a folder where npm installed onnxruntime-web"
    )


def _checked_version(script: Path) -> str:
    """As the script's first lines say it."""
    with script.open("rb") as file:
        found = re.search(rb"ONNX Runtime Web v((\d+)\.(\d+)[\w.-]*)", file.read(400))
    if not found:
        raise UsageError(f"{script}: not ONNX Runtime Web, or not as npm installs it")
    version = found[1].decode("ascii")
    if (int(found[2]), int(found[3])) < MIN_VERSION:
        raise UsageError(f"{script}: ONNX Runtime Web {version} is too old; install onnxruntime-web@{VERSION}")
    return version
