"""What is built, and what it does where nothing else is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featherlight

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "featherlight"
NEEDED = {  # one of each kind of file that is no Python
    "featherlight/kernels/chain.c",
    "featherlight/kernels/vectors.h",
    "featherlight/py.typed",
    "featherlight/report/templates/report.html",
    "featherlight/report/templates/report.css",
    "featherlight/report/templates/report.js",
    "featherlight/serve/static/index.html",
    "featherlight/shipped/cifar10.safetensors",
    "featherlight/shipped/digits.npz",
    "featherlight/targets/web_page/sw.js",
}
IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def call(*command: object, code: int = 0, folder: Path | None = None) -> str:
    """Runs a command and gives what it wrote; its exit code must be ``code``."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **_of_pip()}, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{command} gave {done.returncode}:\n{done.stdout}"
    return done.stdout


def _of_pip() -> dict[str, str]:
    """Only how pip reaches packages, and home; nothing that would let our source tree in."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_")) or name == "HOME"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made out of it as pip does."""
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, folder=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=source)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.mark.slow
def test_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert names >= NEEDED
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and not IGNORED & set(path.parts)}
    ours = {f"featherlight/{path.relative_to(PACKAGE).as_posix()}" for path in files}
    about = f"featherlight-{version('featherlight')}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == ours
    assert {f"{about}METADATA", f"{about}entry_points.txt", f"{about}licenses/LICENSE"} <= names


@pytest.mark.slow
def test_sdist_has_what_the_tests_need_and_no_leftovers(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "tests/test_packaging.py", "docs/data.md"} <= names
    assert [name for name in names if name.startswith((".ci", "runs", ".venv")) or "__pycache__" in name] == []


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
        for number in range(20):
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / name / f"{number}.png")
    return folder


def install(folder: Path, wheel: Path, extras: str = "") -> Path:
    """Installs the wheel into a new environment; gives its folder of programs."""
    if not folder.exists():
        venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    call(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}{extras}")
    return programs


@pytest.mark.slow
def test_base_alone_checks_images_and_says_what_it_lacks(wheel: Path, photos: Path, tmp_path: Path) -> None:
    programs = install(tmp_path / "base", wheel)
    ours = programs / "featherlight"
    assert call(ours, "--version") == f"{version('featherlight')}\n"
    packages = call(programs / "python", "-m", "pip", "list", "--format", "freeze")
    assert "torch" not in packages
    assert "shufflenet_v2_x0_5" in call(ours, "models")
    assert "40 images" in call(ours, "check", photos, "--fail-on", "error", folder=tmp_path)
    assert 'pip install "featherlight[train]"' in call(ours, "train", photos, code=2, folder=tmp_path)
    assert "no runtime is installed" in call(ours, "doctor", code=1)


@pytest.mark.slow
def test_base_with_a_runtime_predicts_with_an_exported_file(wheel: Path, photos: Path, tmp_path: Path) -> None:
    network = featherlight.create_model("shufflenet_v2_x0_5", num_classes=2, input_size=32)
    preprocessing = featherlight.Preprocessing(input_size=32)
    featherlight.save_model(network, tmp_path / "model.safetensors", ("cats", "dogs"), preprocessing)
    exported = tmp_path / "net.onnx"
    featherlight.export(tmp_path / "model.safetensors", "onnx", out=exported, data=photos, form="slices")
    programs = install(tmp_path / "small", wheel, "[onnxruntime]")
    found = json.loads(call(programs / "featherlight", "doctor", "--json"))
    assert [engine["name"] for engine in found["engines"] if engine["version"]] == ["onnxruntime"]
    assert found["problems"] == []
    answer = json.loads(call(programs / "featherlight", "predict", exported, photos / "cats" / "1.png", "--json"))
    assert answer["label"] in ("cats", "dogs")


@pytest.mark.slow
def test_with_torch_it_trains_and_predicts(wheel: Path, photos: Path, tmp_path: Path) -> None:
    programs = install(tmp_path / "whole", wheel, "[train]")
    ours = programs / "featherlight"
    found = json.loads(call(ours, "doctor", "--json"))
    assert (found["problems"], found["devices"][0]) == ([], "cpu")
    call(ours, "train", photos, "--epochs", 1, "--speed", "plain", "--out", "run", folder=tmp_path)
    answer = json.loads(call(ours, "predict", "run", photos / "cats" / "1.png", "--json", folder=tmp_path))
    assert answer["label"] in ("cats", "dogs")
