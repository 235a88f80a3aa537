from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor

import featherlight
from featherlight.errors import DownloadError, UsageError
from featherlight.training.recipe import read_recipe
from file_server import FileServer

SETTINGS: dict[str, Any] = {
    "input_size": 96, "epochs": 1, "batch_size": 12, "device": "cpu", "workers": 0, "ema_decay": 0.0,
}  # fmt: skip


@pytest.fixture
def published_state(publish: Callable[..., None]) -> dict[str, Tensor]:
    """ImageNet weights on a server of this machine."""
    state: dict[str, Tensor] = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    publish("shufflenet_v2_x0_5", state)
    return state


def weights_of(run: featherlight.Run) -> dict[str, Tensor]:
    return featherlight.load_model(run.path).state_dict()


def test_training_on_96_px_starts_from_imagenet(
    published_state: dict[str, Tensor], color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = featherlight.train(color_folder, out=tmp_path / "run", learning_rate=1e-7, **SETTINGS)
    recipe = read_recipe(run.path)
    assert (recipe.pretrained, recipe.body_rate) == ("torchvision", 0.1)
    trained = weights_of(run)
    for name, tensor in published_state.items():
        if name.endswith("weight") and not name.startswith("fc."):
            torch.testing.assert_close(trained[name], tensor, rtol=0, atol=1e-5)
    assert trained["fc.weight"].shape == (3, 1024)
    assert "starting from ImageNet weights: torchvision, 60.6% there, licence BSD-3" in capsys.readouterr().err
    assert "--set pretrained=torchvision" in (run.path / "report.html").read_text()


def test_body_without_a_rate_stays_as_published_while_the_classifier_learns(
    published_state: dict[str, Tensor], color_folder: Path, tmp_path: Path
) -> None:
    options = {**SETTINGS, "momentum": 0.0, "weight_decay": 0.0}
    slow = weights_of(featherlight.train(color_folder, out=tmp_path / "slow", body_rate=0.0, **options))
    for name, tensor in published_state.items():
        if name.endswith(("weight", "bias")):
            assert torch.equal(slow[name], tensor) != name.startswith("fc."), name


def test_without_a_network_training_says_so_and_starts_from_scratch(
    published_state: dict[str, Tensor],
    file_server: FileServer,
    color_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file_server.files.clear()
    run = featherlight.train(color_folder, out=tmp_path / "run", **SETTINGS)
    assert read_recipe(run.path).pretrained == "none"
    lines = [line for line in capsys.readouterr().err.splitlines() if "from scratch" in line]
    assert len(lines) == 1
    assert "shufflenetv2_x0.5-f707e7126e.pth" in lines[0]
    assert str(tmp_path / "cache") in lines[0]


def test_weights_asked_for_by_name_that_cannot_be_had_are_an_error(
    published_state: dict[str, Tensor], file_server: FileServer, color_folder: Path, tmp_path: Path
) -> None:
    file_server.files.clear()
    with pytest.raises(DownloadError, match="404"):
        featherlight.train(color_folder, out=tmp_path / "run", pretrained="torchvision", **SETTINGS)
    with pytest.raises(UsageError, match="there are: torchvision"):
        featherlight.train(color_folder, out=tmp_path / "run", pretrained="nobody", **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_resume_does_not_download_again(
    published_state: dict[str, Tensor], file_server: FileServer, color_folder: Path, tmp_path: Path
) -> None:
    run = featherlight.train(color_folder, out=tmp_path / "run", **SETTINGS)
    before = weights_of(run)
    (run.path / "model.safetensors").unlink()
    for file in (tmp_path / "cache" / "weights").iterdir():
        file.unlink()
    file_server.files.clear()
    after = weights_of(featherlight.resume(run.path))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert len(file_server.ranges) == 1


def test_run_that_ended_before_its_first_checkpoint_resumes_from_the_same_weights(
    published_state: dict[str, Tensor], color_folder: Path, tmp_path: Path
) -> None:
    run = featherlight.train(color_folder, out=tmp_path / "run", **SETTINGS)
    before = weights_of(run)
    (run.path / "last" / "checkpoint.safetensors").unlink()
    after = weights_of(featherlight.resume(run.path))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("choice", [{"input_size": 32}, {"pretrained": "none"}, {"pretrained": False}])
def test_small_images_and_none_leave_the_network_alone(
    file_server: FileServer, color_folder: Path, tmp_path: Path, choice: dict[str, Any]
) -> None:
    run = featherlight.train(color_folder, out=tmp_path / "run", **{**SETTINGS, **choice})
    assert read_recipe(run.path).pretrained == "none"
    assert file_server.ranges == []


def test_network_without_published_weights_starts_from_scratch(
    color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = featherlight.train(color_folder, "mobilenet_v1_x0_25", out=tmp_path / "run", **SETTINGS)
    assert read_recipe(run.path).pretrained == "none"
    assert "starting from scratch: no ImageNet weights are known for mobilenet_v1_x0_25" in capsys.readouterr().err


def test_option_is_there_on_the_command_line(
    published_state: dict[str, Tensor], cli: Callable[..., Any], color_folder: Path, tmp_path: Path
) -> None:
    answer = cli(
        "train", color_folder, "--pretrained", "torchvision", "--epochs", 1, "--out", tmp_path / "run",
        "--set", "input_size=64", "--set", "batch_size=12", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert read_recipe(tmp_path / "run").pretrained == "torchvision"
