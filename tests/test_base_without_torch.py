from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.cli.main import COMMANDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
BASE = next(contract for contract in CONTRACTS if contract["name"] == "the base runs without torch")["source_modules"]

WITHOUT_TRAIN = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "matplotlib", "sklearn", "tensorboard", "cleanlab"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
IMPORT_ALL = """
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    print(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(found.name)
        print(found.name)
"""
RUN_ALL = """
import io, json
from contextlib import redirect_stderr, redirect_stdout
from featherlight.cli.main import run

answers = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(arguments)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_without_train(*arguments: object) -> Answer:
    (answer,) = run_all_without_train([arguments])
    return answer


def run_all_without_train(commands: Sequence[Sequence[object]]) -> list[Answer]:
    """In one process, one after the other."""
    done = python(WITHOUT_TRAIN + RUN_ALL, json.dumps([[str(one) for one in command] for command in commands]))
    assert done.stderr == ""
    return [Answer(*row) for row in json.loads(done.stdout)]


def test_every_module_of_the_base_can_be_imported() -> None:
    result = python(WITHOUT_TRAIN + IMPORT_ALL, "featherlight.cli.main", *BASE)
    assert result.stderr == ""
    imported = set(result.stdout.split())
    assert set(BASE) <= imported
    assert {"featherlight.sources.cifar", "featherlight.images.decode", "featherlight.report.page"} <= imported


def test_help_answers() -> None:
    commands = [["--help"], *([command, "--help"] for command in COMMANDS)]
    for command, result in zip(commands, run_all_without_train(commands), strict=True):
        assert (result.returncode, result.stderr) == (0, ""), command
        assert "Examples:\n    featherlight " in result.stdout, command


def test_models_lists_the_networks() -> None:
    result = run_without_train("models", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert "shufflenet_v2_x0_5" in {row["name"] for row in json.loads(result.stdout)}


def test_commands_that_need_torch_say_what_to_install() -> None:
    commands = [
        ["train"],
        ["train", "digits", "--epochs", "1"],
        ["train", "--resume", "runs/a"],
        ["profile", "shufflenet_v2_x0_5"],
        ["profile", "--units"],
        ["export", "runs/a"],
        ["benchmark", "shufflenet_v2_x0_5"],
    ]
    for command, result in zip(commands, run_all_without_train(commands), strict=True):
        assert_torch_is_asked_for(result, command)


def assert_torch_is_asked_for(result: Answer, command: object) -> None:
    assert (result.returncode, result.stdout) == (2, ""), command
    (line,) = result.stderr.splitlines()
    assert line.endswith('needs torch, which is not installed. Run: pip install "featherlight[train]"'), command


def test_channel_shuffle_is_explained() -> None:
    result = run_without_train("explain", "channel-shuffle", "--groups", "3", "--channels", "15")
    assert (result.returncode, result.stderr) == (0, "")
    assert "a1 b1 c1 a2 b2 | c2 a3 b3 c3 a4 | b4 c4 a5 b5 c5\n" in result.stdout


def test_model_that_needs_torch_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").touch()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    commands = [[command, tmp_path / "m.safetensors", tmp_path / "a.png"] for command in ("predict", "evaluate")]
    for command, result in zip(commands, run_all_without_train(commands), strict=True):
        assert_torch_is_asked_for(result, command)


def test_check_runs_and_writes_its_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for level in range(3):
            Image.fromarray(np.full((9, 9), 80 * level, np.uint8)).save(tmp_path / "data" / name / f"{level}.png")
    result = run_without_train("check", tmp_path / "data", "--out", tmp_path / "out", "--fix", tmp_path / "fixed")
    assert (result.returncode, "label conflict  3" in result.stdout) == (1, True)
    assert {path.name for path in tmp_path.glob("[of]*/*")} == {
        "check.json",
        "check.html",
        "manifest.csv",
        "removed.csv",
    }


def test_looking_for_wrong_labels_says_what_to_install(tmp_path: Path) -> None:
    result = run_without_train("check", tmp_path, "--labels")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: looking for wrong labels needs cleanlab, which is not installed. "
        'Run: pip install "featherlight[labels]"\n'
    )


def test_python_names_say_what_to_install() -> None:
    script = """
import featherlight
for name in featherlight.__all__:
    try:
        getattr(featherlight, name)
    except featherlight.FeatherlightError as error:
        print(name, "|", error)
"""
    result = python(WITHOUT_TRAIN + script)
    assert result.stderr == ""
    missing = dict(line.split(" | ") for line in result.stdout.splitlines())
    assert set(missing) == {
        "Export", "Run", "benchmark", "choose", "compare", "create_model", "export", "find_rate", "load_model",
        "load_weights", "profile", "resume", "save_model", "train",
    }  # fmt: skip
    assert all(
        text == f'featherlight.{name} needs torch, which is not installed. Run: pip install "featherlight[train]"'
        for name, text in missing.items()
    )


def test_digits_open_without_the_extra_train() -> None:
    script = "from featherlight.sources import open_source\nprint(len(open_source('digits').splits['test']))"
    result = python(WITHOUT_TRAIN + script)
    assert (result.stdout, result.stderr) == ("379\n", "")


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import featherlight; dir(featherlight)", ["torch", "torchvision", "numpy", "PIL", "click", "rich"]),
        ("from featherlight.__main__ import main; main()", ["torch", "torchvision", "numpy", "PIL", "rich", "jinja2"]),
    ],
)
def test_start_stays_quick_because_nothing_heavy_is_imported(statement: str, absent: list[str]) -> None:
    script = f"""
import sys
try:
    {statement}
except SystemExit as stop:
    assert stop.code == 0
print(sorted(set({absent}) & set(sys.modules)), file=sys.stderr)
"""
    result = python(script, "--help")
    assert (result.returncode, result.stderr) == (0, "[]\n")
