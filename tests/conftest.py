from __future__ import annotations

import os

# Before torch is imported, and inherited by every process a test starts: two processes that each spin on all cores
# slow each other down many times over, and tests run in parallel.
os.environ["OMP_NUM_THREADS"] = "1"

import hashlib
import importlib.util
import io
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from featherlight.files import cache_folder
from file_server import FileServer, serve_files

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}
IMAGES_PER_CLASS = {"train": 12, "val": 4, "test": 4}

# Nothing is timed: how long an example takes says more about the machine's other work than about the code.
UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("quick", max_examples=25, derandomize=True, **UNTIMED)
hypothesis.settings.register_profile("thorough", max_examples=200, **UNTIMED)  # chosen by `make test-all`
hypothesis.settings.load_profile("quick")


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _clean_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    kernels, cache = cache_folder() / "kernels", tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        with suppress(OSError):
            kernels.mkdir(parents=True, exist_ok=True)
            (cache / "kernels").symlink_to(kernels)  # compiling takes ten seconds
        patch.setenv("FEATHERLIGHT_CACHE", str(cache))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.delenv("FEATHERLIGHT_DATA", raising=False)
        patch.delenv("FEATHERLIGHT_DEBUG", raising=False)
        patch.setenv("FEATHERLIGHT_OFFLINE", "1")  # tests that need a network start a server and ask for file_server
        yield


@pytest.fixture(scope="session")
def paint() -> Callable[[Path, str, int], Path]:
    """Writes a noisy 32 px PNG of a colour; the same seed gives the same image."""

    def write(path: Path, colour: str, seed: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([seed, *colour.encode()]).integers(-25, 26, (32, 32, 3))
        pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, "PNG")
        return path

    return write


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder that the first of all processes that run tests fills, and the others wait for. Only to be read."""
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "shared"
    shared.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def color_folder(made_once: Callable[..., Path], paint: Callable[[Path, str, int], Path]) -> Path:
    """``train/ val/ test/`` with blue, green and red in each: 12, 4 and 4 images a class. Only to be read."""
    return made_once("colors", lambda root: _paint_splits(root, paint))


def _paint_splits(root: Path, paint: Callable[[Path, str, int], Path]) -> None:
    for number, (split, count) in enumerate(IMAGES_PER_CLASS.items()):
        for colour in COLOURS:
            for k in range(count):
                paint(root / split / colour / f"{k:02}.png", colour, 100 * number + k)


@pytest.fixture(scope="session")
def tiny_run(made_once: Callable[..., Path], color_folder: Path) -> Path:
    """The run directory of a network really trained on ``color_folder``, all of it right. Only to be read."""

    def train(out: Path) -> None:
        import featherlight

        settings = {"epochs": 30, "batch_size": 6, "input_size": 16, "seed": 0, "device": "cpu"}
        run = featherlight.train(color_folder, "shufflenet_v2_x0_5", out=out, **settings)
        assert run.metrics["top1"] == 1.0

    return made_once("tiny", train)


@pytest.fixture(scope="session")
def light_run(made_once: Callable[..., Path], color_folder: Path) -> Path:
    """As ``tiny_run``, of a network with half as many layers: what takes a time for each layer is done on this one."""

    def train(out: Path) -> None:
        import featherlight

        settings = {"epochs": 30, "batch_size": 6, "input_size": 16, "seed": 1, "device": "cpu"}
        run = featherlight.train(color_folder, "mobilenet_v1_x0_25", out=out, **settings)
        assert run.metrics["top1"] == 1.0

    return made_once("light", train)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium whose camera shows a test picture. One for all tests: a process runs one Playwright."""
    api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    arguments = [
        "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    ]  # fmt: skip
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def load_script() -> Callable[[Path], ModuleType]:
    """Imports a file that belongs to no package."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def disk_with_room_for() -> Callable[[int], AbstractContextManager[None]]:
    """Inside, a file that grows beyond so many bytes fails halfway, as on a full disk."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """An HTTP server on this machine; the only one that downloads in this test can reach by name or proxy."""
    monkeypatch.delenv("FEATHERLIGHT_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files, server = serve_files()
    yield files
    files.done.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def publish(file_server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Puts ImageNet weights on that server in place of the real ones; only their checksum is changed for it."""
    from featherlight.models import published

    monkeypatch.setenv("FEATHERLIGHT_MIRROR", file_server.url)
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))

    def put(name: str, state: dict[str, Any], source: str | None = None, *, zipped: bool | None = None) -> None:
        import torch

        weights, stream = published.find_published(name, source), io.BytesIO()
        torch.save(state, stream)
        content = stream.getvalue()
        if zipped if zipped is not None else bool(weights.sha1_inside):
            weights = replace(weights, sha256="", sha1_inside=hashlib.sha1(content).hexdigest())
            outer = io.BytesIO()
            with zipfile.ZipFile(outer, "w") as archive:
                archive.writestr("weights.pth", content)
            content = outer.getvalue()
        else:
            weights = replace(weights, sha256=hashlib.sha256(content).hexdigest())
        file_server.files[f"/{weights.file_name}"] = content
        monkeypatch.setattr(published, "PUBLISHED", (weights,))

    return put


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command in this process."""
    from featherlight.cli.main import run

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return call
