from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.errors import UsageError
from featherlight.workflows.export import export

PACKAGES = {"onnx": ["onnxruntime", "pillow"], "openvino": ["openvino", "pillow"]}


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def kit(request: pytest.FixtureRequest, light_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("kit")
    result = export(light_run, request.param, out=folder / "out", kit=folder / "kit", form="shuffle")
    assert result.kit == folder / "kit"
    return request.param, folder / "kit"


def run(python: str | Path, kit: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-I", str(kit / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_a_kit_has_model_labels_sample_and_a_short_script(kit: tuple[str, Path]) -> None:
    target, folder = kit
    model = {"onnx": {"model.onnx"}, "openvino": {"model.xml", "model.bin"}}[target]
    assert {path.name for path in folder.iterdir()} == model | {"labels.txt", "sample.png", "expected.json", "run.py"}
    assert (folder / "labels.txt").read_text().splitlines() == ["blue", "green", "red"]
    assert len((folder / "run.py").read_text().splitlines()) < 45
    assert "featherlight" not in (folder / "run.py").read_text()


def test_the_script_checks_the_sample_and_names_images(kit: tuple[str, Path], color_folder: Path) -> None:
    _, folder = kit
    checked = run(sys.executable, folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "as expected" in checked.stdout
    picture = color_folder / "test" / "red" / "00.png"
    named = run(sys.executable, folder, picture)
    assert named.stdout.startswith(f"{picture}: red ")


def test_the_script_notices_other_answers(kit: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = kit
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "sample.png")
    checked = run(sys.executable, tmp_path)
    assert checked.returncode == 1
    assert "but expected" in checked.stdout


def test_a_folder_with_other_things_is_not_replaced(light_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="is no earlier kit; choose another --kit"):
        export(light_run, out=tmp_path / "m.onnx", kit=tmp_path)


@pytest.mark.slow
def test_the_script_runs_where_nothing_but_the_runtime_and_pillow_is_installed(
    kit: tuple[str, Path], tmp_path: Path
) -> None:
    target, folder = kit
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES[target]], check=True, capture_output=True)
    for package in ("torch", "featherlight", "onnx"):
        assert subprocess.run(
            [str(python), "-I", "-c", f"import {package}"], capture_output=True, check=False
        ).returncode
    checked = run(python, folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "as expected" in checked.stdout
