from __future__ import annotations

import ast
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from featherlight.errors import UsageError
from featherlight.images import Preprocessing, normalize, resize_image
from featherlight.workflows.device_kit import make_script
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
    assert named.returncode == 0
    assert named.stdout.startswith(f"{picture}: red ")


@pytest.mark.parametrize("other", ["labels.txt", "nothing.png"])
def test_the_script_says_in_one_line_what_it_cannot_read(kit: tuple[str, Path], color_folder: Path, other: str) -> None:
    _, folder = kit
    picture = color_folder / "test" / "red" / "00.png"
    named = run(sys.executable, folder, picture, folder / other)
    assert named.returncode == 1
    assert named.stdout.startswith(f"{picture}: red ")
    assert named.stderr.startswith(f"{folder / other}: ")
    assert named.stderr.count("\n") == 1


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


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn", "litert", "executorch", "coreml"])
@pytest.mark.parametrize("takes_images", [True, False])
def test_every_script_is_python_without_gaps(engine: str, takes_images: bool) -> None:
    text = make_script(engine, "model.x", Preprocessing(32), takes_images=takes_images)
    compile(text, "run.py", "exec", flags=ast.PyCF_ONLY_AST)
    assert "\n\n\n\n" not in text
    assert all(line == line.rstrip() and len(line) <= 120 for line in text.splitlines())


def prepare_by_script(preprocessing: Preprocessing, path: Path) -> np.ndarray:
    """What the script makes of a picture: its own function, without the runtime that the rest of it needs."""
    tree = ast.parse(make_script("ncnn", "model.param", preprocessing, takes_images=False))
    names = {"SIZE", "MEAN, STD", "prepare"}
    tree.body = [
        node
        for node in tree.body
        if (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).strip("()") in names)
        or (isinstance(node, ast.FunctionDef) and node.name in names)
    ]
    space: dict[str, object] = {"np": np, "math": math, "Image": Image, "ImageOps": ImageOps}
    exec(compile(tree, "run.py", "exec"), space)  # our own template
    return space["prepare"](path)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@given(width=st.integers(1, 90), height=st.integers(1, 90), fraction=st.sampled_from([1.0, 0.875, 0.3]))
def test_scripts_prepare_images_as_training_does(
    resize: Literal["crop", "pad", "stretch"], grey: bool, width: int, height: int, fraction: float
) -> None:
    values = {"mean": (0.3,), "std": (0.2,)} if grey else {}
    preprocessing = Preprocessing(24, resize, fraction, **values)
    pixels = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        Image.fromarray(pixels).save(path)
        found = prepare_by_script(preprocessing, path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, normalize(resize_image(pixels, preprocessing)[None], preprocessing), atol=1e-6)


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
