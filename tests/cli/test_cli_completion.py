"""Completion in the shells themselves, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featherlight.cli.completion import SHELLS
from featherlight.cli.main import COMMANDS
from featherlight.models.catalogue import list_models
from featherlight.targets.base import TARGETS

Cli = Callable[..., Any]
Complete = Callable[[str], list[str]]
SRC = Path(__file__).parents[2] / "src"
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from featherlight.cli.main import run
sys.exit(run([]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two runs, photos and a file; the command is found on the path."""
    for name in ("runs/tulips", "runs/roses", "runs/.hidden", "photos", "digit-photos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cat 1.jpg").touch()
    program = tmp_path / "bin" / "featherlight"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m featherlight "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    return tmp_path


@pytest.fixture
def complete(folder: Path) -> Complete:
    """What is offered for the last word of a line, in a process without torch: the protocol beneath all shells."""

    def call(line: str) -> list[str]:
        words = line.split(" ")
        variables = {"_FEATHERLIGHT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH], env={**os.environ, **variables},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return [item.partition(",")[2] or f"<{item.partition(',')[0]}>" for item in done.stdout.splitlines()]

    return call


def test_commands_and_options_are_completed(complete: Complete) -> None:
    assert complete("featherlight ") == list(COMMANDS)
    assert complete("featherlight ver") == ["verify"]
    assert complete("featherlight doctor --js") == ["--json"]


def test_names_are_completed_where_they_fit(complete: Complete) -> None:
    assert complete("featherlight train --model mobilenet_v3_") == [
        name for name in list_models() if name.startswith("mobilenet_v3_")
    ]
    assert complete("featherlight export runs/tulips --to o") == [name for name in TARGETS if name.startswith("o")]
    assert complete("featherlight predict a b --engine onn") == ["onnxruntime"]
    assert complete("featherlight train --device cu") == ["cuda"]
    assert complete("featherlight train --recipe article-ascend-mobilenet-v1-") == [
        "article-ascend-mobilenet-v1-corrected"
    ]
    assert complete("featherlight train --speed p") == ["plain"]


def test_data_and_models_are_names_and_paths(complete: Complete) -> None:
    assert complete("featherlight train digi") == ["digits", "digit-photos/"]
    assert complete("featherlight evaluate runs/") == ["runs/roses", "runs/tulips"]
    assert complete("featherlight evaluate ci") == ["cifar10"]
    assert complete("featherlight train --resume runs/t") == ["runs/tulips"]
    assert complete("featherlight check pho")[0] == "pho"  # a path alone is left to the shell


def test_path_alone_is_left_to_the_shell(folder: Path) -> None:
    variables = {"_FEATHERLIGHT_COMPLETE": "bash_complete", "COMP_WORDS": "featherlight check pho", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "featherlight"], env={**os.environ, **variables}, capture_output=True, check=True
    )
    assert done.stdout == b"file,pho\n"


BASH = """
eval "$(featherlight completion bash)"
COMP_WORDS=(featherlight {words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_featherlight_completion featherlight
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# compdef, compadd and _describe belong to zsh's line editor; what they are given is printed instead.
ZSH = """
compdef() {{ : }}
_describe() {{ shift; while (( $# )); do case $1 in -*) ;; *) print -l -- "${{(@P)1}}" ;; esac; shift; done }}
compadd() {{ local name; for name in "$@"; do case $name in -*) ;; *) print -l -- "${{(@P)name}}" ;; esac; done }}
eval "$(featherlight completion zsh)"
words=(featherlight {words})
CURRENT=$#words
_featherlight_completion
"""
FISH = """
featherlight completion fish | source
complete -C "featherlight {words}"
"""


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_shell_completes_with_the_script(folder: Path, shell: str, script: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    for words, expected in (("train --model mobilenet_v2", "mobilenet_v2_x1_0"), ("evaluate runs/tu", "runs/tulips")):
        done = subprocess.run(
            [shell, *quiet, "-c", script.format(words=words)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        offered = [line.split("\t")[0].strip() for line in done.stdout.splitlines()]
        assert expected in offered
        assert all(name.startswith(words.split()[-1]) for name in offered if name)


@pytest.mark.parametrize("shell", SHELLS)
def test_shell_of_the_person_is_the_default(cli: Cli, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    answer = cli("completion")
    assert answer == cli("completion", shell)
    assert (answer.code, answer.err) == (0, "")
    assert "_FEATHERLIGHT_COMPLETE" in answer.out


def test_unknown_shell_is_a_mistake(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    answer = cli("completion")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: which shell is meant cannot be seen from $SHELL; write one of: bash, zsh, fish\n"
    assert cli("completion", "tcsh").code == 2
