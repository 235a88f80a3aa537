from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

from featherlight.interop.layouts import layout_names

Cli = Callable[..., Any]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=3)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 5}, tmp_path / "w.pth.tar")
    return tmp_path / "w.pth.tar"


def test_weights_become_a_model_that_predicts(cli: Cli, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\ncow\n")
    out = tmp_path / "model.safetensors"
    answer = cli(
        "convert", weights, "--model", "shufflenet_v2_x0_5", "--class-names", tmp_path / "names.txt", "--out", out
    )
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "shufflenet_v2_x0_5: 344,867 parameters, 3 classes, torchvision layout, imagenet preprocessing\n"
        f"model   {out}\n"
        f"next    featherlight predict {out} IMAGE\n"
    )
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    prediction = json.loads(cli("predict", out, tmp_path / "a.png", "--json").out)
    assert prediction["label"] in ("ant", "bee", "cow")
    assert len(prediction["top"]) == 3


def test_classes_without_names_are_noted(cli: Cli, weights: Path, tmp_path: Path) -> None:
    answer = cli("convert", weights, "--model", "shufflenet_v2_x0_5", "--out", tmp_path / "m.safetensors")
    assert answer.code == 0
    assert answer.err == "the 3 classes are called by their numbers; --class-names FILE gives them names\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "shufflenet_v2_x0_5.megvii"], "weights in torchvision's layout belong to shufflenet_v2_x0_5, "),
        (
            ["--model", "shufflenet_v1_g3_x1_0"],
            "weights of shufflenet_v2 in torchvision's layout, not of shufflenet_v1",
        ),
        (["--model", "shufflenet_v2_x0_5", "--from", "megvii"], "belong to shufflenet_v2_x0_5.megvii"),
        (["--model", "shufflenet_v2_x0_5", "--from", "caffe"], "there is no layout 'caffe' for shufflenet_v2"),
        (
            ["--model", "shufflenet_v2_x0_5", "--preprocessing", "x"],
            "there is no preprocessing 'x'; choose one of imag",
        ),
        (["--model", "shufflenet_v2_x0_5", "--input-size", "8"], "8 is not in the range"),
        (["--model", "resnet18"], "there is no network named 'resnet18'"),
        ([], "Missing option '--model'"),
    ],
)
def test_what_cannot_be_converted_is_said_in_two_lines(
    cli: Cli, weights: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "m.safetensors"
    answer = cli("convert", weights, *options, "--out", out)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) <= 2
    assert not out.exists()


def test_help_names_every_layout(cli: Cli) -> None:
    text = cli("convert", "--help").out.replace(",", " ").split()
    assert set(layout_names()) <= set(text)
