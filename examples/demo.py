"""The whole way on images that need no download: train, evaluate, predict.

    make demo                     on a fresh machine
    python examples/demo.py       where featherlight[train] is installed

Every step prints the command that a person would type, then runs it. The run goes into runs/demo;
if that exists, into runs/demo-2, and so on. The exit code is that of the first step that fails.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import click
from PIL import Image

from featherlight.cli.main import run as featherlight
from featherlight.sources import open_source

NUM_EXAMPLES = 4


def main() -> int:
    """Runs the steps; returns the exit code."""
    run = free_directory(Path("runs"), "demo")
    examples = run / "examples"
    code = step("Train the default network on built-in handwritten digits", f"train digits --out {run}")
    code = code or step("Measure it on digits that training never saw", f"evaluate {run}")
    if code == 0:
        write_examples(examples)
        code = step("Name four of those digits, given as image files", f"predict {run} {examples} --top 2")
    if code == 0:
        click.echo("\n" + "\n".join(what_next(run)))
    return code


def step(title: str, command: str) -> int:
    """Prints a command, runs it and returns its exit code."""
    click.secho(f"\n# {title}\n$ featherlight {command}", bold=True)
    return featherlight(shlex.split(command))


def free_directory(parent: Path, name: str) -> Path:
    """``parent/name``, or the first of ``name-2``, ``name-3``, ... that does not exist: nothing is overwritten."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(path for path in map(parent.joinpath, names) if not path.exists())


def write_examples(folder: Path) -> None:
    """Writes the first digits of the test split as PNG files; each name says what the image shows."""
    folder.mkdir(parents=True)
    digits = open_source("digits")
    test = digits.splits["test"]
    for index in range(NUM_EXAMPLES):
        label = digits.classes[test.labels[index]]
        Image.fromarray(test.read(index)).save(folder / f"{index + 1}-shows-{label}.png")


def what_next(run: Path) -> Iterator[str]:
    """What to try after the demo."""
    yield f"The report, for a browser:    {run}/report.html"
    yield f"The model, one file:          {run}/model.safetensors"
    yield "What to try next:"
    yield "  featherlight train PATH/TO/IMAGES       a folder of images for each class"
    yield "  featherlight train --epochs 20          stop it with Ctrl-C; it says how to go on"
    yield "  featherlight models                     the networks to choose from"
    yield "  featherlight --help"
    yield "`make` put the command into .venv/bin; `. .venv/bin/activate` makes its name known to this shell."


if __name__ == "__main__":
    sys.exit(main())
