from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from featherlight.cli.main import COMMANDS, run

Cli = Callable[..., Any]
FEATHERLIGHT = [sys.executable, "-X", "dev", "-W", "error", "-m", "featherlight"]


@pytest.fixture
def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_help_lists_every_command(cli: Cli) -> None:
    for flag in ("--help", "-h"):
        answer = cli(flag)
        assert (answer.code, answer.err) == (0, "")
        assert all(f"\n  {name}" in answer.out for name in COMMANDS)
        assert "Examples:\n    featherlight train " in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_examples_of_it(cli: Cli, command: str) -> None:
    answer = cli(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    examples = answer.out.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert len(examples) >= 3
    assert all(f"featherlight {command}" in line for line in examples)
    assert COMMANDS[command].rstrip(".").split()[0] in answer.out


def test_version_is_the_packages(cli: Cli) -> None:
    assert cli("--version") == type(cli("--version"))(0, version("featherlight") + "\n", "")


def test_no_command_shows_the_help_and_is_an_error(cli: Cli) -> None:
    answer = cli()
    assert (answer.code, answer.out) == (2, "")
    assert "Examples:" in answer.err


@pytest.mark.parametrize(
    ("arguments", "message", "help_of"),
    [
        (["trian"], "No such command 'trian'; did you mean train?", "featherlight"),
        (["fly"], "No such command 'fly'", "featherlight"),
        (["--nonsense"], "No such option", "featherlight"),
        (["models", "--nonsense"], "No such option", "featherlight models"),
        (["models", "a", "b"], "unexpected extra argument", "featherlight models"),
        (["predict"], "Missing argument 'MODEL'", "featherlight predict"),
        (["predict", "m"], "Missing argument", "featherlight predict"),
        (["predict", "m", "a.png", "--top", "0"], "0 is not in the range x>=1", "featherlight predict"),
        (["predict", "m", "a.png", "--top", "two"], "'two' is not a valid integer", "featherlight predict"),
        (["evaluate"], "Missing argument 'MODEL'", "featherlight evaluate"),
        (["evaluate", "m", "--split", "holdout"], "'holdout' is not one of", "featherlight evaluate"),
        (["train", "--epochs", "0"], "0 is not in the range x>=1", "featherlight train"),
        (["train", "--time", "soon"], "'soon' is no duration; write 90s, 15m or 2h", "featherlight train"),
        (["train", "--time", "0s"], "'0s' is no duration; write 90s, 15m or 2h", "featherlight train"),
        (["train", "--time", "15"], "'15' is no duration; write 90s, 15m or 2h", "featherlight train"),
        (["train", "--set", "flip"], "'flip' is no field=value", "featherlight train"),
        (["train", "--set", "=1"], "'=1' is no field=value", "featherlight train"),
        (["train", "--seed", "-1"], "-1 is not in the range x>=0", "featherlight train"),
        (["train", "--speed", "fast"], "'fast' is not one of", "featherlight train"),
    ],
)
def test_mistake_on_the_command_line_is_two_lines_on_standard_error(
    cli: Cli, arguments: list[str], message: str, help_of: str
) -> None:
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    first, second = answer.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second == f"See: {help_of} --help"


def test_tracebacks_are_for_those_who_ask(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from featherlight.errors import FeatherlightError

    answer = cli("models", "none*")
    assert (answer.code, answer.err.count("\n"), answer.err[:7]) == (2, 1, "error: ")
    monkeypatch.setenv("FEATHERLIGHT_DEBUG", "1")
    with pytest.raises(FeatherlightError, match="no network is called"):
        run(["models", "none*"])


def test_module_and_script_are_the_same_program() -> None:
    script = Path(sys.executable).parent / "featherlight"
    by_module = subprocess.run([sys.executable, "-m", "featherlight", "--version"], capture_output=True, check=True)
    by_script = subprocess.run([script, "--version"], capture_output=True, check=True)
    assert by_module.stdout == by_script.stdout == f"{version('featherlight')}\n".encode()


@pytest.mark.parametrize(
    "arguments", [["models"], ["models", "--json"], ["--help"], ["predict", "--help"], ["--version"]], ids=" ".join
)
def test_reader_that_has_had_enough_is_no_error(closed_pipe: int, arguments: list[str]) -> None:
    result = subprocess.run(
        [*FEATHERLIGHT, *arguments], stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(closed_pipe)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_an_error(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*FEATHERLIGHT, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (2, "error: No space left on device\n")


def test_output_in_another_encoding_shows_what_it_can(tmp_path: Path) -> None:
    result = subprocess.run(
        [*FEATHERLIGHT, "predict", "m", "größe-猫.png"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == "error: größe-\\u732b.png: no such file or folder\n".encode("latin-1")


UP_THEN_MODELS = """
import os, signal, sys
from featherlight.cli.main import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
os.write(2, b"up\\n")
sys.exit(run(["models"]))
"""


def test_interrupt_is_one_line_and_exit_code_1() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:  # a full pipe: the process will wait in its first write
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    command = [sys.executable, "-c", UP_THEN_MODELS]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        err = process.stderr.readline()  # only then close: a closed pipe would be another story
        os.close(writing)
        os.close(reading)
        err += process.stderr.read()
    assert process.returncode == 1
    assert err.strip() == "error: interrupted"
