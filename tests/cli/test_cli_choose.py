from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_data_or_a_choice_must_be_named(cli: Callable[..., Any]) -> None:
    answer = cli("choose", "--time", "1m")
    assert answer.code == 2
    assert "featherlight choose DATA" in answer.err


def test_resume_takes_nothing_else(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("choose", "--resume", tmp_path, "--time", "1m").code == 2
    assert cli("choose", "digits", "--resume", tmp_path).code == 2


def test_wrong_limit_is_one_line_and_nothing_is_made(cli: Callable[..., Any], tmp_path: Path) -> None:
    answer = cli("choose", "digits", "--max-latency", "fast", "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "5ms" in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # test_contract.py shows the exit code
def test_limits_that_nothing_keeps_exit_with_1_and_say_what_to_relax(
    cli: Callable[..., Any], color_folder: Path, tmp_path: Path
) -> None:
    asked = ("choose", color_folder, "--max-macs", "1k", "--time", "1m", "--out", tmp_path / "out")
    answer = cli(*asked, "--models", "mobilenet_v1_x0_25", "--input-size", "16")
    assert answer.code == 1
    assert "comes nearest" in answer.out
    assert "--max-macs" in answer.out
    told = cli("choose", "--resume", tmp_path / "out", "--json", "--lang", "zh")
    assert told.code == 1
    content = json.loads(told.out)
    assert content["pick"] is None
    assert content["sentence"] in answer.out
    page = (tmp_path / "out" / "choose.html").read_text(encoding="utf-8")
    assert "试过的网络都不能满足这些限制；最接近的是 mobilenet_v1_x0_25（16 像素）" in page
