"""What Tab offers behind an option or as an argument; nothing here imports torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
RUNS = "runs"  # where training puts what has no --out


def _names(find: Callable[[], Iterable[str]]) -> Complete:
    """Completes one of the names that ``find`` gives."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in find() if name.startswith(begun)]

    return complete


def _names_or_files(find: Callable[[], Iterable[str]]) -> Complete:
    """Completes names and paths; paths alone are left to the shell, which knows how to quote them and to go deeper."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        names = [name for name in find() if name.startswith(begun)]
        if not names:
            return [CompletionItem(begun, type="file")]
        paths = [path for path in _paths(begun) if path.rstrip(os.sep) not in names]
        return [CompletionItem(text) for text in (*names, *paths)]

    return complete


def _paths(begun: str) -> list[str]:
    found = sorted(glob.glob(f"{glob.escape(begun)}*"))
    return [f"{path}{os.sep}" if os.path.isdir(path) else path for path in found]


def _networks() -> list[str]:
    from featherlight.models.catalogue import list_models

    return list_models()


def _data() -> tuple[str, ...]:
    from featherlight.sources import KNOWN_NAMES

    return KNOWN_NAMES


def _trained() -> list[str]:
    """Models that have a name or lie in ``runs/``."""
    from featherlight.model_file import SHIPPED

    return [*SHIPPED, *_runs()]


def _runs() -> list[str]:
    folders = sorted(Path(RUNS).iterdir()) if os.path.isdir(RUNS) else []
    return [str(folder) for folder in folders if folder.is_dir() and not folder.name.startswith(".")]


def _recipes() -> Iterable[str]:
    from featherlight.training.recipes.catalogue import list_recipes

    return list_recipes()


def _engines() -> tuple[str, ...]:
    from featherlight.engines.base import ENGINES

    return ("auto", *ENGINES)


network = _names(_networks)
recipe = _names(_recipes)
engine = _names(_engines)
target = _names(
    lambda: ("onnx", "openvino", "web", "ncnn", "litert", "executorch", "coreml")
)  # written out: the table of targets imports torch
device = _names(lambda: ("auto", "cpu", "cuda", "mps", "npu", "xpu"))
data = _names_or_files(_data)
model = _names_or_files(_trained)
run = _names_or_files(_runs)
model_or_network = _names_or_files(lambda: (*_trained(), *_networks()))
data_or_model = _names_or_files(lambda: (*_trained(), *_data()))
