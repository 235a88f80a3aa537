from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from featherlight.images import load_image
from featherlight.sources import open_source

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(DEMO)


def test_demo_takes_a_directory_that_does_not_exist(demo: ModuleType, tmp_path: Path) -> None:
    taken = []
    for _ in range(3):
        taken.append(demo.free_directory(tmp_path, "demo").name)
        (tmp_path / taken[-1]).mkdir()
    assert taken == ["demo", "demo-2", "demo-3"]


def test_demo_examples_are_test_images_and_say_what_they_show(demo: ModuleType, tmp_path: Path) -> None:
    demo.write_examples(tmp_path / "examples")
    digits = open_source("digits")
    test = digits.splits["test"]
    files = sorted((tmp_path / "examples").iterdir())
    assert len(files) == 4
    for index, file in enumerate(files):
        np.testing.assert_array_equal(load_image(file), test.read(index))
        assert file.stem.endswith(f"-shows-{digits.classes[test.labels[index]]}")


@pytest.mark.slow
def test_demo_trains_evaluates_and_names_digits(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, DEMO], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.splitlines() if line.startswith("runs/demo/examples/")]
    assert len(answers) == 4
    right = [line.split("-shows-")[1][0] == line.split(": ")[1][0] for line in answers]
    assert sum(right) >= 3
    assert (tmp_path / "runs/demo/report.html").is_file()


def test_demo_ends_with_the_code_of_the_step_that_fails(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()  # where the run directory would have to be made
    assert demo.main() == 2
    answer = capsys.readouterr()
    assert "error: cannot make runs/demo: Not a directory" in answer.err
    assert "evaluate" not in answer.out
