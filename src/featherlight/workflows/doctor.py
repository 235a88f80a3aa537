"""What is installed, what works, and what to do about the rest. Needs nothing but the base."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featherlight.cost.latency import machine_name
from featherlight.engines.base import ENGINES, MODULES
from featherlight.errors import EXTRA_OF_MODULE, FeatherlightError
from featherlight.files import cache_folder
from featherlight.kernels.library import find_compiler
from featherlight.toolchain import TOOLCHAINS, find_toolchain, is_made
from featherlight.workflows.installed import (
    Package,
    dependencies_of,
    extras,
    install_command,
    installed_version,
)

PURPOSES = {
    "": "the base: reads images, folders and model files; lists networks",
    "choose": "choose: the best network within limits",
    "convert": "convert of Keras weights",
    "data": "Parquet manifests",
    "huggingface": "Hugging Face data sets",
    "int8": "export --int8 and OpenVINO's int8",
    "labels": "check --labels: wrong labels",
    "litert": "runs .tflite files, without PyTorch",
    "ncnn": "export --to ncnn; runs .param files",
    "onnx": "export --to onnx",
    "onnxruntime": "runs .onnx files, without PyTorch",
    "openvino": "runs and exports OpenVINO files",
    "ray": "predict --ray: many machines",
    "serve": "serve: answers over HTTP",
    "timm": "networks of timm",
    "train": "training; runs model files",
}
_CACHES = {
    "data": "downloaded data sets",
    "decoded": "decoded training images",
    "facts-2.sqlite": "what is known about images",
    "images": "images of manifests with addresses",
    "kernels": "compiled training kernels",
    "choose.json": "measured latencies and sizes of networks",
    "shards": "shards and their indexes",
    "toolchains": "converters for devices, with a PyTorch of their own",
    "speed.json": "which way of training is fastest here",
    "weights": "published ImageNet weights",
}
_IN_TOOLCHAIN = "in its toolchain"
START_TIMEOUT_S = 300
FILES_COUNTED = 100_000  # of each cache; more are not waited for
_TRY_TORCH = "import json; from featherlight.devices import available_devices; print(json.dumps(available_devices()))"


@dataclass(frozen=True)
class Extra:
    """An optional part: what it is for, what of it is missing or too old, and the command to get it."""

    name: str
    purpose: str
    missing: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Runtime:
    """An engine that runs models; ``problem`` is None when it starts, and ``version`` when it is not installed."""

    name: str
    version: str | None
    problem: str | None
    command: str


@dataclass(frozen=True)
class Cache:
    """Something kept that can be made again; ``at_least`` when not all of its files were counted."""

    name: str
    purpose: str
    size_bytes: int
    at_least: bool


@dataclass(frozen=True)
class Problem:
    """Something that does not work, and what to do."""

    message: str
    command: str


@dataclass(frozen=True)
class Diagnosis:
    """What ``featherlight doctor`` found; ``problems`` is empty when all that is installed works."""

    featherlight: str
    python: str
    executable: str
    machine: str
    packages: dict[str, str]
    devices: tuple[str, ...]
    engines: tuple[Runtime, ...]
    extras: tuple[Extra, ...]
    compiler: str | None
    cache_folder: str
    cache_free_bytes: int
    caches: tuple[Cache, ...]
    environment: dict[str, str]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def diagnose() -> Diagnosis:
    """Looks at this installation; every runtime is started once, in a process of its own, so a crash is only told."""
    found = {name: dependencies_of(name) for name in ("", *extras())}
    packages = {package.name: package for needed in found.values() for package in needed}
    engines, devices = _try_engines()
    parts = tuple(_extra(name, needed) for name, needed in found.items() if name)
    folder = cache_folder()
    return Diagnosis(
        featherlight=version("featherlight"),
        python=platform.python_version(),
        executable=sys.executable,
        machine=machine_name(),
        packages={name: package.version for name, package in sorted(packages.items()) if package.version},
        devices=devices,
        engines=engines,
        extras=parts,
        compiler=_compiler(),
        cache_folder=str(folder),
        cache_free_bytes=shutil.disk_usage(_existing(folder)).free,
        caches=_caches(folder),
        environment={name: value for name, value in sorted(os.environ.items()) if name.startswith("FEATHERLIGHT_")},
        problems=(*_old(found), *_broken(engines), *_unwritable(folder)),
    )


def _extra(name: str, needed: Sequence[Package]) -> Extra:
    missing = tuple(package.requirement for package in needed if not package.is_satisfied)
    return Extra(name, PURPOSES.get(name, ""), missing, install_command(name))


def _try_engines() -> tuple[tuple[Runtime, ...], tuple[str, ...]]:
    """All engines, started at the same time, and the devices that PyTorch finds."""
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        tried = dict(zip(ENGINES, pool.map(_try_engine, ENGINES), strict=True))
    engines = tuple(engine for engine, _ in tried.values())
    torch, output = tried["torch"]
    works = torch.version is not None and torch.problem is None
    return engines, tuple(json.loads(output.splitlines()[-1])) if works else ("cpu",)


def _try_engine(name: str) -> tuple[Runtime, str]:
    module = MODULES.get(name, name)
    extra = EXTRA_OF_MODULE.get(module)
    command = install_command(extra) if extra else f"featherlight toolchain {name}"
    python, found = sys.executable, installed_version(module.replace("_", "-"))
    if found is None and not extra and name in TOOLCHAINS and is_made(name):
        python, found = str(find_toolchain(name)), _IN_TOOLCHAIN
    if found is None:
        return Runtime(name, None, None, command), ""
    problem, output = _start(python, _TRY_TORCH if name == "torch" else f"import {module}")
    return Runtime(name, found, problem, command), output


def _start(python: str, code: str) -> tuple[str | None, str]:
    """Runs Python code in a process of its own: what went wrong, if something did, and its output."""
    try:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not start within {START_TIMEOUT_S} s; ask again when the machine has less to do", ""
    if done.returncode == 0:
        return None, done.stdout
    reason = (done.stderr.strip().splitlines() or [f"the process ends with code {done.returncode}"])[-1]
    return f"does not start: {reason}", ""


def _old(found: dict[str, tuple[Package, ...]]) -> tuple[Problem, ...]:
    """Packages that are installed and older than declared, and those of the base that are not there."""
    problems = dict[str, Problem]()
    for extra, needed in found.items():
        for package in needed:
            if package.version is not None and not package.is_satisfied:
                message = f"{package.name} is {package.version}; {package.requirement} is needed"
            elif not extra and package.version is None:
                message = f"{package.name} is missing"
            else:
                continue
            problems.setdefault(package.name, Problem(message, f'pip install --upgrade "{package.requirement}"'))
    return tuple(problems.values())


def _broken(engines: Sequence[Runtime]) -> tuple[Problem, ...]:
    broken = tuple(
        Problem(f"{engine.name} {engine.version} {engine.problem}", _again(engine))
        for engine in engines
        if engine.problem is not None
    )
    if any(engine.version is not None for engine in engines):
        return broken
    return (Problem("no runtime is installed: no model can run here", install_command("onnxruntime")),)


def _again(engine: Runtime) -> str:
    """The command that brings what does not start."""
    if engine.version == _IN_TOOLCHAIN:
        return f"featherlight toolchain {engine.name} --remove && featherlight toolchain {engine.name}"
    return f"pip install --force-reinstall {MODULES.get(engine.name, engine.name).replace('_', '-')}"


def _unwritable(folder: Path) -> tuple[Problem, ...]:
    if os.access(_existing(folder), os.W_OK):
        return ()
    return (Problem(f"the cache folder {folder} cannot be written to", "export FEATHERLIGHT_CACHE=ANOTHER-FOLDER"),)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _compiler() -> str | None:
    """The first line that the compiler says about itself."""
    try:
        done = subprocess.run([find_compiler(), "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (FeatherlightError, OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), None)


def _caches(folder: Path) -> tuple[Cache, ...]:
    entries = sorted(folder.iterdir()) if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK) else []
    return tuple(_cache(entry) for entry in entries)


def _cache(path: Path) -> Cache:
    size, count = 0, 0
    for size_bytes in _sizes(path):
        size, count = size + size_bytes, count + 1
        if count >= FILES_COUNTED:
            break
    return Cache(path.name, _CACHES.get(path.name, ""), size, count >= FILES_COUNTED)


def _sizes(path: Path) -> Iterator[int]:
    """Sizes of all files at or below a path; what vanishes or cannot be read meanwhile is left out."""
    if not path.is_dir() or path.is_symlink():
        yield path.lstat().st_size
        return
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
