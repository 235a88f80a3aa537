"""Code on the pages for devices is code: Python compiles, Kotlin and Swift parse."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import tree_sitter

from featherlight.cli.main import featherlight as group

PAGES = sorted((Path(__file__).parents[1] / "docs" / "devices").glob("*.md"))


def blocks(language: str) -> list[str]:
    return [block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def test_python_compiles() -> None:
    assert blocks("python")
    for block in blocks("python"):
        compile(block, "page", "exec")


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_other_languages_parse(language: str) -> None:
    grammar = importlib.import_module(f"tree_sitter_{language}")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert blocks(language)
    for block in blocks(language):
        assert not parser.parse(block.encode()).root_node.has_error, block


def test_commands_are_ours() -> None:
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("featherlight ")]
    assert len(lines) > 8
    for line in lines:
        name, *arguments = shlex.split(line.partition("  #")[0])[1:]
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None, line
        command.make_context(name, arguments)
