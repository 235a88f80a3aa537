from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from featherlight.cli.amounts import PIXELS, SIZE, TIME
from featherlight.serve.settings import Settings


def test_help_states_every_limit_and_its_default(cli: Callable[..., Any]) -> None:
    text = " ".join(cli("serve", "--help").out.split())
    for option, default in {
        "--host": "127.0.0.1", "--port": "8000", "--engine": "auto", "--workers": "1", "--threads": "cores / workers",
        "--api-key-file": "anybody may", "--max-batch": "32", "--latency-target": "50ms", "--max-body": "20MB",
        "--max-pixels": "50MP", "--max-files": "64", "--request-timeout": "30s", "--queue": "128",
    }.items():  # fmt: skip
        described = text.partition(f" {option} ")[2].partition(" --")[0]
        assert default in described, option


def test_defaults_are_those_of_the_settings() -> None:
    from featherlight.cli.serve import command

    context = command.make_context("serve", ["runs/a"])
    given = context.params
    settings = Settings(Path("runs/a"))
    for option, field in {
        "host": "host", "port": "port", "engine": "engine", "workers": "workers", "threads": "threads",
        "max_batch": "max_batch", "latency_target": "latency_target_s", "max_body": "max_body_bytes",
        "max_pixels": "max_pixels", "max_files": "max_files", "request_timeout": "request_timeout_s", "queue": "queue",
    }.items():  # fmt: skip
        assert given[option] == getattr(settings, field), option


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["no-such-model"],
            "no-such-model: no such model file or run directory; runs are listed by: featherlight runs",
        ),
        (["m", "--max-body", "20 potatoes"], "is no size"),
        (["m", "--max-body", "0MB"], "is no size"),
        (["m", "--latency-target", "50"], "is no time"),
        (["m", "--max-pixels", "5MB"], "is no number of pixels"),
        (["m", "--api-key-file", "none.txt"], "none.txt: cannot be read"),
        (["m", "--queue", "1"], "raise --queue or lower --max-files"),
        (["m", "--port", "70000"], "70000"),
        (["m", "--workers", "0"], "0"),
    ],
)
def test_what_cannot_be_served_exits_with_2_and_says_why(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("serve", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("kind", "text", "amount"),
    [
        (SIZE, "20MB", 20e6),
        (SIZE, "1.5 GiB", 1.5 * 2**30),
        (TIME, "50ms", 0.05),
        (TIME, "2m", 120),
        (PIXELS, "1000", 1000),
        (PIXELS, "2.5MP", 2.5e6),
    ],
)
def test_amounts_are_read_with_their_unit(kind: click.ParamType[float], text: str, amount: float) -> None:
    assert kind.convert(text, None, None) == pytest.approx(amount)
