"""What the documents say is true: commands are run, output and names are compared."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featherlight
from featherlight.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
DOCUMENTS = [README, CHINESE, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CLASSES = ("cats", "frogs", "ships")
Cli = Callable[..., Any]  # the fixture: arguments -> code, out, err

NOT_RUN, SLOW, INTERRUPTED, EXIT_CODE = "not run", "slow", "interrupted", "exit code"  # how marks begin
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>console|python)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
# What the quick test adds to a command: timing all forms of a network takes half a minute.
QUICKER = {"featherlight export runs/photos --to onnx --kit for-the-device": ("--form", "slices")}
NUMBER = re.compile(r"-?\d(?:[\d.,:]*\d)?(?:e-?\d+)?%?")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``mark`` is the comment before it."""

    mark: str
    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def output(self) -> list[str]:
        lines = (line.strip() for line in self.text.splitlines() if not line.startswith("$ "))
        return [line for line in lines if line not in ("", "...", "^C")]


def read_blocks(path: Path) -> list[Block]:
    found = BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [Block(match["mark"] or "", match["kind"], match["text"]) for match in found]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the images that the README names; caches and home lie beside it."""
    for variable, name in (("HOME", "home"), ("FEATHERLIGHT_CACHE", "cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for number, name in enumerate(CLASSES):
        _write_images(folder / "photos" / name, number)
    for name in ("frogs", "ships"):
        _save_near_duplicate(folder / "photos" / name)
    _write_images(folder / "new", 0, count=2)
    picture = (folder / "new" / "1.jpg").read_bytes()
    (folder / "new" / "broken.jpg").write_bytes(picture[: len(picture) // 2])
    return folder


def _write_images(folder: Path, colour: int, count: int = 48) -> None:
    """Noise with a tint of its class; every sixth has another class's, so that the model has something to confuse."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(colour)
    for number in range(1, count + 1):
        pixels = generator.integers(0, 128, (32, 32, 3), np.uint8)
        pixels[..., (colour + (number % 6 == 0)) % 3] += 127
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def _save_near_duplicate(folder: Path) -> None:
    Image.open(folder / "1.jpg").save(folder / "0.jpg", quality=60)


def test_readme_commands_do_what_it_shows(workplace: Path, cli: Cli) -> None:
    blocks = [block for block in read_blocks(README) if not block.mark.startswith((NOT_RUN, SLOW))]
    assert set(QUICKER) <= {command for block in blocks for command in block.commands}
    for block in blocks:
        _check(block, workplace, cli, QUICKER)


@pytest.mark.slow
def test_readme_commands_as_they_are_written_do_what_it_shows(workplace: Path, cli: Cli) -> None:
    for block in read_blocks(README):
        if not block.mark.startswith((NOT_RUN, SLOW)):
            _check(block, workplace, cli)


@pytest.mark.slow
def test_slow_readme_commands_do_what_it_shows(workplace: Path, cli: Cli) -> None:
    slow = [block for block in read_blocks(README) if block.mark.startswith(SLOW)]
    assert slow
    for block in slow:
        _check(block, workplace, cli)


def _check(block: Block, folder: Path, cli: Cli, quicker: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
    if block.kind == "python":
        exec(compile(block.text, "README.md", "exec"), {})
        return
    assert len(block.commands) == 1, "a block shows one command and its output"
    program, *arguments = [*shlex.split(block.commands[0]), *quicker.get(block.commands[0], ())]
    assert program == "featherlight"
    if block.mark.startswith(INTERRUPTED):
        output = _interrupt(arguments)
    else:
        expected = int(block.mark.removeprefix(EXIT_CODE)) if block.mark.startswith(EXIT_CODE) else 0
        answer = cli(*arguments)
        output = answer.err + answer.out
        assert answer.code == expected, f"{block.commands[0]} gave {answer.code}:\n{output}"
    _assert_shown(block, output.replace(str(folder), "/home/me"))


def _interrupt(arguments: list[str]) -> str:
    """Runs the installed command and sends Ctrl-C after the first epoch; its exit code for that is 1."""
    command = [str(Path(sys.executable).parent / "featherlight"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith("epoch"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 1, f"{shlex.join(command)} gave {process.returncode}:\n{output}"
    return output


def _assert_shown(block: Block, output: str) -> None:
    """Every line that the README shows is in the output, up to numbers, the order of classes and ``...``."""
    real = [_masked(line) for line in output.splitlines()]
    for line in block.output:
        pattern = re.compile(".*".join(re.escape(_masked(part)) for part in line.split("...")))
        assert any(pattern.fullmatch(candidate) for candidate in real), (
            f"README.md: {block.commands[0]} does not print\n{line}\nbut\n{output}"
        )


def _masked(line: str) -> str:
    named = re.sub(rf"\b(?:{'|'.join(CLASSES)})\b", "CLASS", line)
    return " ".join(NUMBER.sub("0", named).split())


def test_masking_leaves_words_and_hides_numbers() -> None:
    assert _masked("epoch   3  val loss 0.714  val accuracy 71.50%  0:07") == "epoch 0 val loss 0 val accuracy 0 0"
    assert _masked("new/1.jpg: frogs 93.0%, cats 4.1%") == "new/0.jpg: CLASS 0, CLASS 0"
    assert _masked("model   runs/photos/model.safetensors") == "model runs/photos/model.safetensors"


def test_both_readmes_have_the_same_blocks() -> None:
    assert len(read_blocks(README)) > 10
    assert read_blocks(CHINESE) == read_blocks(README)


def test_every_block_that_runs_shows_output() -> None:
    shown = [block for block in read_blocks(README) if block.kind == "console" and not block.mark.startswith(NOT_RUN)]
    assert [block.commands for block in shown if not block.output] == []


def test_readmes_count_the_networks() -> None:
    names = featherlight.list_models()
    variants = sum("." in name for name in names)
    assert f"{len(names) - variants} networks and {variants} published variants" in README.read_text(encoding="utf-8")
    assert f"{len(names) - variants} 个网络和 {variants} 个公开变体" in CHINESE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [README, CHINESE], ids=lambda path: path.name)
def test_readme_tree_names_every_source_file(path: Path) -> None:
    package = ROOT / "src" / "featherlight"
    files = {str(file.relative_to(package)) for pattern in ("*.py", "*.c", "*.h") for file in package.rglob(pattern)}
    indexes = {name for name in files if name.endswith("/__init__.py")}  # the package's own line speaks for them
    tree = path.read_text(encoding="utf-8").partition("    src/featherlight/\n")[2].partition("    examples/")[0]
    parents, named = [""], set[str]()  # parents of a line at each depth of the tree
    for indent, name in re.findall(r"^( +)(\S+)", tree, re.MULTILINE):
        depth = len(indent) // 2 - 3
        named.add(parents[depth] + name)
        parents[depth + 1 :] = [parents[depth] + name]
    assert {name for name in named if not name.endswith("/")} == files - indexes


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    for target, _, heading in (link.partition("#") for link in links if "://" not in link):
        file = path.parent / target if target else path
        assert file.is_file(), f"{path.name} links to {target}, which does not exist"
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
        assert not heading or heading in [re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings]


def test_reference_has_every_public_name_and_recipe_field() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    fields = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))))
    assert set(Recipe.__dataclass_fields__) <= fields
    assert [name for name in featherlight.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_architecture_gives_a_reason_for_every_dependency() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = re.findall(r'"([a-z-]+)>=', project)
    assert len(packages) > 20
    assert [name for name in packages if not re.search(rf"^\|[^|]*\b{name}\b[^|]*\|", text, re.MULTILINE)] == []
