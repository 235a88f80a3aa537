"""The help of every command: its examples are commands that parse."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from featherlight.cli.main import COMMANDS, featherlight

REPOSITORY = Path(__file__).parents[2]
SHELL = {"|", ">", ">>", "&&", "||", ";"}
ROOT = click.Context(featherlight, info_name="featherlight")


def load(name: str) -> click.Command:
    command = featherlight.get_command(ROOT, name)
    assert command is not None
    return command


def read_examples(epilog: str) -> list[str]:
    return [line.strip() for line in epilog.split("Examples:\n")[1].split("\n\n", maxsplit=1)[0].splitlines()]


def parse_line(line: str) -> Iterator[list[str]]:
    """The words of each call of ours in a line of shell; a remark stands two blanks or more behind."""
    words: list[str] = []
    bare = re.sub(r"^eval \"\$\((.*)\)\"$", r"\1", re.split(r" {2,}", line)[0])
    lexer = shlex.shlex(bare, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in (*lexer, ";"):
        if word not in SHELL:
            words.append(word)
            continue
        if words[:1] == ["featherlight"]:
            yield words[1:]
        words = []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_parses(name: str) -> None:
    command = load(name)
    examples = read_examples(command.epilog or "")
    assert len(examples) >= 3
    for line in examples:
        calls = list(parse_line(line))
        assert calls, f"no command of ours: {line}"
        for called, *arguments in calls:
            context = load(called).make_context(called, list(arguments), parent=ROOT)
            assert context.params.keys() == {p.name for p in load(called).params if p.expose_value}
        assert name in [called for called, *_ in calls], f"not an example of {name}: {line}"


def test_examples_of_the_whole_parse() -> None:
    examples = read_examples(featherlight.epilog or "")
    assert len(examples) >= 3
    for line in examples:
        ((called, *arguments),) = parse_line(line)
        load(called).make_context(called, arguments, parent=ROOT)


def test_example_with_a_mistake_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        load("train").make_context("train", ["photos/", "--epoch-count", "3"], parent=ROOT)


def test_lines_of_shell_are_taken_apart() -> None:
    assert list(parse_line('find . | featherlight predict a "b c" --json > out.json   a remark')) == [
        ["predict", "a", "b c", "--json"]
    ]
    assert list(parse_line('eval "$(featherlight completion bash)"')) == [["completion", "bash"]]
    assert list(parse_line("featherlight check a && featherlight train b")) == [["check", "a"], ["train", "b"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_exit_codes_and_where_to_read_on(name: str, cli: Callable[..., Any]) -> None:
    help_text = " ".join(cli(name, "--help").out.split())
    codes, _, elsewhere = help_text.partition("Exit codes: ")[2].partition(" See also: ")
    assert codes.startswith("0 done; 1 ")
    assert "; 2 could not run" in codes
    assert "Exit code" not in help_text.partition("Exit codes: ")[0]  # said once
    for place in elsewhere.split(", "):
        called = place.removeprefix("featherlight ")
        assert called in set(COMMANDS) - {name} if called != place else (REPOSITORY / place).is_file()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_command_is_explained(name: str, cli: Callable[..., Any]) -> None:
    command = load(name)
    assert command.help
    unexplained = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert unexplained == []
    longest = max(map(len, cli(name, "--help").out.splitlines()))
    assert longest <= 120
