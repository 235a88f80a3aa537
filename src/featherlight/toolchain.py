"""Converters that tie down versions of PyTorch: each in a Python environment of its own, which a person makes once.

They never meet the packages of this installation. What they need comes to them as files: a program of ``torch.export``,
arrays, and a job in JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from featherlight.errors import FeatherlightError, UsageError
from featherlight.files import cache_folder

OFFLINE = "FEATHERLIGHT_OFFLINE"
LINES_SHOWN = 3
_READY = "ready.json"


@dataclass(frozen=True)
class Toolchain:
    """A converter.

    Attributes:
        name: as ``featherlight toolchain`` takes it, and ``--to``.
        purpose: in a few words.
        packages: what is installed, as pip takes it; exact versions, so that everyone gets what was tested.
        download: about how much comes from the network.
    """

    name: str
    purpose: str
    packages: tuple[str, ...]
    download: str


_EXECUTORCH = Toolchain(
    "executorch",
    "makes and runs .pte files of ExecuTorch, and makes folders for Core ML",
    ("executorch==1.5.1", "coremltools==9.0", "torch==2.13.0"),
    "1 GB, 3 GB where PyTorch comes with CUDA",
)
_LITERT = Toolchain(
    "litert",
    "makes .tflite files of LiteRT",
    ("litert-torch==0.10.0", "ai-edge-litert==2.3.0", "ai-edge-quantizer==0.10.0", "torch==2.13.0"),
    "1 GB, 3 GB where PyTorch comes with CUDA",
)
TOOLCHAINS = {"litert": _LITERT, "executorch": _EXECUTORCH}
OF_TARGET = {"coreml": "executorch"}  # targets that share the toolchain of another


class MissingToolchainError(FeatherlightError):
    """The environment has not been made yet."""

    def __init__(self, toolchain: Toolchain) -> None:
        super().__init__(
            f"this needs a toolchain in an environment of its own, which {toolchain.purpose}, and leaves this "
            f"installation alone. Make it once (downloads about {toolchain.download}): "
            f"featherlight toolchain {toolchain.name}"
        )


def toolchain_of(name: str) -> Toolchain:
    """The toolchain of this name.

    Raises:
        UsageError: there is none.
    """
    name = OF_TARGET.get(name, name)
    if name not in TOOLCHAINS:
        raise UsageError(f"there is no toolchain {name!r:.40}; choose one of {', '.join(TOOLCHAINS)}")
    return TOOLCHAINS[name]


def toolchain_folder(name: str) -> Path:
    """Where the environment is or will be: other packages or another Python are another folder."""
    toolchain = toolchain_of(name)
    what = json.dumps([toolchain.packages, sys.version_info[:2]])
    return cache_folder() / "toolchains" / f"{toolchain.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"


def find_toolchain(name: str) -> Path:
    """The environment's Python.

    Raises:
        MissingToolchainError: it has not been made.
    """
    if not is_made(name):
        raise MissingToolchainError(toolchain_of(name))
    return _python(toolchain_folder(name))


def is_made(name: str) -> bool:
    """The environment is there, whole."""
    return (toolchain_folder(name) / _READY).is_file()


def make_toolchain(name: str) -> Path:
    """Makes the environment, with ``uv`` where that is installed, else with ``venv`` and pip. Nothing if it is there.

    Returns:
        Its folder.

    Raises:
        UsageError: an unknown name.
        FeatherlightError: off the network, or the packages cannot be installed.
    """
    toolchain, folder = toolchain_of(name), toolchain_folder(name)
    if (folder / _READY).is_file():
        return folder
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise FeatherlightError(f"the toolchain {name} has to be downloaded, and {OFFLINE} is set")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / _READY).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            for command in _commands(folder, toolchain.packages):
                _call(command, f"the toolchain {name} could not be made")
            (folder / _READY).write_text(json.dumps({"packages": toolchain.packages}) + "\n", encoding="utf-8")
    return folder


def remove_toolchain(name: str) -> bool:
    """Deletes the environment; False: there was none."""
    folder = toolchain_folder(name)
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return there


def run_tool(name: str, script: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a script in the environment and waits for it.

    Args:
        name: of the toolchain.
        script: called with two arguments, the job's file and the file for its answer, both JSON.
        job: what to do.

    Raises:
        MissingToolchainError: the environment has not been made.
        UsageError: the script says why it cannot be done.
    """
    python = find_toolchain(name)
    with tempfile.TemporaryDirectory(prefix="featherlight-tool-") as place:
        asked, answered = Path(place) / "job.json", Path(place) / "answer.json"
        asked.write_text(json.dumps(dict(job)), encoding="utf-8")
        _call([str(python), "-I", str(script), str(asked), str(answered)], f"{name}'s converter failed")
        answer: dict[str, Any] = json.loads(answered.read_bytes())
    return answer


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _commands(folder: Path, packages: tuple[str, ...]) -> list[list[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(_python(folder)), *packages],
        ]
    return [
        [sys.executable, "-m", "venv", str(folder)],
        [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ]


def _call(command: list[str], failure: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        raise UsageError(f"{failure}: {' / '.join(lines[-LINES_SHOWN:]) or f'exit code {done.returncode}'}")
