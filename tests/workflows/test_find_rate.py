from __future__ import annotations

import json

import pytest
from PIL import Image

from featherlight.errors import UsageError
from featherlight.workflows.find_rate import find_rate

SETTINGS = ("--model", "mobilenet_v1_x0_25", "--set", "input_size=16", "--set", "batch_size=12", "--device", "cpu")


def test_a_rate_is_found_and_drawn_and_nothing_else_is_written(cli, color_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli("find-rate", color_folder, *SETTINGS, "--steps", 120, "--json", "--out", "rates.png")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"])
    assert 1e-3 < found["suggestion"] < found["lowest"]
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]
    with Image.open("rates.png") as picture:
        assert min(picture.size) > 300


def test_the_table_ends_in_the_command_to_go_on_with(cli, color_folder):
    answer = cli("find-rate", color_folder, *SETTINGS, "--steps", 120)
    assert f"featherlight train {color_folder} --set learning_rate=" in answer.out


@pytest.mark.parametrize(
    "options", [{"low": 1.0, "high": 0.1}, {"low": 0.0}, {"steps": 5}, {"out": "rates.jpg"}, {"colour": 3}]
)
def test_mistakes_are_told_before_images_are_read(color_folder, options):
    with pytest.raises(UsageError):
        find_rate(color_folder, **options)
