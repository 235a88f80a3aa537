"""Parity with MindSpore and Keras themselves, each in an environment of its own.

``FEATHERLIGHT_TEST_MINDSPORE`` names a Python made with ``pip install mindspore "numpy<2"`` and, for mindcv's networks,
``pip install --no-deps mindcv pyyaml tqdm``; ``FEATHERLIGHT_TEST_KERAS`` one with
``pip install tensorflow-cpu keras tf-keras``. Without them these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from featherlight import create_model
from featherlight.errors import ModelFileError
from featherlight.models.foreign import load_weights

SCRIPTS = Path(__file__).parent / "foreign"
pytestmark = pytest.mark.slow


def run(variable: str, script: str, *arguments: object) -> None:
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def assert_parity(name: str, weights: Path, stored: Path) -> None:
    expected = np.load(stored)
    network = create_model(name, expected["logits"].shape[1], input_size=224)
    load_weights(network, weights).eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(expected["images"])).numpy()
    assert 0.1 < np.abs(expected["logits"]).max() < 30
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def mindspore_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mindspore")
    run("FEATHERLIGHT_TEST_MINDSPORE", "write_mindspore.py", folder)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "shufflenet_v1_g3_x0_5.mindspore", "shufflenet_v1_g8_x0_5.mindspore", "shufflenet_v1_g3_x1_0.mindcv",
        "shufflenet_v1_g3_x0_5.mindcv", "mobilenet_v1_x0_25.mindcv",
    ],
)  # fmt: skip
def test_mindspores_checkpoints_give_mindspores_logits(name: str, mindspore_files: Path) -> None:
    weights = mindspore_files / f"{name}.ckpt"
    if not weights.exists():
        pytest.skip("mindcv is not installed there")
    assert_parity(name, weights, mindspore_files / f"{name}.npz")


@pytest.fixture(scope="module", params=["2", "3"])
def keras_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(f"keras{request.param}")
    run("FEATHERLIGHT_TEST_KERAS", "write_keras.py", folder, request.param)
    return folder


def test_every_kind_of_keras_file_gives_keras_logits(keras_files: Path) -> None:
    for weights in sorted([*keras_files.glob("*.h5"), keras_files / "model.keras"]):
        assert_parity("shufflenet_v2_x1_0.keras", weights, keras_files / "model.npz")


def test_weights_alone_give_keras_logits_or_are_refused(keras_files: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(keras_files / "model.weights.h5", tmp_path))  # without the configuration beside it
    if "keras3" in str(keras_files):
        assert_parity("shufflenet_v2_x1_0.keras", weights, keras_files / "model.npz")
    else:
        with pytest.raises(ModelFileError, match="does not tell which"):
            load_weights(create_model("shufflenet_v2_x1_0.keras", 7, input_size=224), weights)
