"""The doctor looks at a real interpreter; what is wrong is put beside it on the path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest

from featherlight.errors import EXTRA_OF_MODULE
from featherlight.workflows.doctor import PURPOSES, diagnose
from featherlight.workflows.installed import Package, dependencies_of, extras

SRC = Path(__file__).parents[2] / "src"
Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Runs the command with ``tmp_path/first`` before everything else on the path."""

    def call(**environment: str) -> tuple[int, dict[str, Any]]:
        path = os.pathsep.join([str(tmp_path / "first"), str(SRC)])
        variables = {**os.environ, "PYTHONPATH": path, "FEATHERLIGHT_CACHE": str(tmp_path / "cache"), **environment}
        done = subprocess.run(
            [sys.executable, "-m", "featherlight", "doctor", "--json"],
            env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    return call


def test_says_versions_devices_engines_caches_and_that_all_works(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    (tmp_path / "weights" / "deep").mkdir(parents=True)
    (tmp_path / "weights" / "deep" / "a.bin").write_bytes(bytes(3_000_000))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert f"featherlight {version('featherlight')}, Python {sys.version.split()[0]}" in answer.out
    assert re.search(r"^devices   cpu", answer.out, re.MULTILINE)
    assert re.search(rf"^  torch +{re.escape(version('torch'))}  works$", answer.out, re.MULTILINE)
    assert re.search(r"^  weights +3\.0 MB  published ImageNet weights$", answer.out, re.MULTILINE)
    assert f"  numpy {version('numpy')}\n" in answer.out
    assert f"  FEATHERLIGHT_CACHE={tmp_path}\n" in answer.out
    assert answer.out.endswith("\nall that is installed works\n")


def test_runtime_that_does_not_start_is_told_with_its_reason(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    (tmp_path / "first" / "onnxruntime.py").write_text("import os; os.abort()")
    code, found = doctor()
    assert code == 1
    problems = {one["message"].split()[0]: one for one in found["problems"]}
    assert problems.keys() == {"openvino", "onnxruntime"}
    assert "libtbb.so.12: cannot open shared object file" in problems["openvino"]["message"]
    assert "the process ends with code -6" in problems["onnxruntime"]["message"]
    assert problems["openvino"]["command"] == "pip install --force-reinstall openvino"


def test_package_that_is_too_old_is_a_problem_and_its_extra_is_not_complete(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / "first" / "tensorboard-2.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorboard\nVersion: 2.0\n")
    code, found = doctor()
    assert code == 1
    (problem,) = found["problems"]
    assert problem["message"].startswith("tensorboard is 2.0; tensorboard>=")
    incomplete = {extra["name"]: extra["missing"] for extra in found["extras"] if extra["missing"]}
    assert [name.split(">=")[0] for name in incomplete["train"]] == ["tensorboard"]
    assert "labels" in incomplete  # it consists of train


def test_cache_folder_that_cannot_be_written_to_is_a_problem(doctor: Doctor) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no folder here that nobody can write to")
    code, found = doctor(FEATHERLIGHT_CACHE="/proc/self/nowhere")
    assert (code, len(found["problems"])) == (1, 1)
    assert "/proc/self/nowhere cannot be written to" in found["problems"][0]["message"]


WITHOUT = """
import importlib.metadata, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "matplotlib", "sklearn", "onnxruntime", "openvino"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from featherlight.cli.main import run
sys.exit(run(["doctor", "--json"]))
"""


def test_runs_in_a_process_that_cannot_import_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(SRC), "FEATHERLIGHT_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["featherlight"] == version("featherlight")


def test_every_requirement_is_read_and_every_extra_has_a_purpose() -> None:
    assert set(extras()) <= set(PURPOSES)
    assert set(EXTRA_OF_MODULE.values()) <= set(PURPOSES)
    read = {package.name for extra in ("", *extras()) for package in dependencies_of(extra)}
    named = {re.match(r"[\w.-]+", line)[0] for line in requires("featherlight") or () if "python_version" not in line}
    assert read == named - {"featherlight"}


@pytest.mark.parametrize(
    ("minimum", "installed", "is_new_enough"),
    [
        ("2.9", "2.14.1+cpu", True),
        ("2.9", "2.9.0", True),
        ("2.9.0", "2.9", True),
        ("2.9", "2.8.9", False),
        ("10", "9.99", False),
        ("", "0.0.1", True),
        ("1", None, False),
    ],
)
def test_versions_are_compared_number_by_number(minimum: str, installed: str | None, is_new_enough: bool) -> None:
    assert Package("a", minimum, installed).is_satisfied is is_new_enough


def test_diagnosis_holds_what_json_can_say() -> None:
    found = diagnose()
    assert json.loads(json.dumps(found.to_dict()))["engines"][0]["name"] == "torch"
