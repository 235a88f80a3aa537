"""The model that comes with the package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import featherlight
from featherlight.errors import UsageError
from featherlight.model_file import SHIPPED, find_model_file, read_card
from featherlight.sources import open_source

DATA = Path(os.environ.get("FEATHERLIGHT_TEST_DATA", "/nonexistent")) / "cifar10-jpeg"


def test_it_takes_less_than_a_megabyte_and_says_how_it_was_made():
    path = SHIPPED["cifar10"]
    assert path.stat().st_size < 1_000_000
    card = read_card(path)
    assert card.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert card.provenance["recipe"]["model"] == card.model == "mobilenet_v1_x0_25"
    assert 0.5 < card.provenance["test"]["top1"] < 1
    assert "/" not in json.dumps([card.provenance["data"], card.provenance["recipe"]["data"]])


def test_its_name_stands_for_a_path_unless_there_is_such_a_file(tmp_path, monkeypatch):
    assert find_model_file("cifar10") == SHIPPED["cifar10"]
    answer = featherlight.Predictor("cifar10").predict(np.zeros((40, 40, 3), np.uint8))
    assert answer[0].label in read_card(SHIPPED["cifar10"]).classes
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").write_bytes(SHIPPED["cifar10"].read_bytes())
    assert find_model_file("cifar10") == Path("cifar10")


def test_its_weights_fill_a_network_and_start_a_training():
    network = featherlight.create_model("mobilenet_v1_x0_25", num_classes=10, input_size=32, pretrained="cifar10")
    trained = featherlight.load_model("cifar10").state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())
    other = featherlight.create_model("mobilenet_v1_x0_25", num_classes=3, input_size=32, pretrained="cifar10")
    assert torch.equal(next(other.parameters()), next(network.parameters()))
    with pytest.raises(UsageError, match="are of mobilenet_v1_x0_25, not of shufflenet_v2_x0_5"):
        featherlight.create_model("shufflenet_v2_x0_5", num_classes=10, input_size=32, pretrained="cifar10")


@pytest.mark.skipif(not DATA.is_dir(), reason="FEATHERLIGHT_TEST_DATA has no cifar10-jpeg")
def test_it_is_as_right_as_it_says():
    split = open_source(DATA).splits["test"]
    chosen = np.random.default_rng(0).permutation(len(split))[:500]
    answers = featherlight.Predictor("cifar10").predict([split.read(int(index)) for index in chosen])
    right = np.mean(
        [answer.label == answer_of for answer, answer_of in zip(answers, names(split.labels[chosen]), strict=True)]
    )
    said = read_card(SHIPPED["cifar10"]).provenance["test"]["top1"]
    assert abs(right - said) < 4 * np.sqrt(said * (1 - said) / len(chosen))


def names(labels: np.ndarray) -> list[str]:
    classes = read_card(SHIPPED["cifar10"]).classes
    return [classes[label] for label in labels]
