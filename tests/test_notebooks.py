"""Notebooks are kept without output, and run from top to bottom."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
RUN = "from nbclient.cli import main; main()"
TIMEOUT_S = 1200  # for a cell


def read_cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_output_and_listed(path: Path) -> None:
    code = [cell for cell in read_cells(path) if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert f"](notebooks/{path.name})" in (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RUN, f"--timeout={TIMEOUT_S}", "--inplace", path.name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = [part for cell in read_cells(tmp_path / path.name) for part in cell.get("outputs", ())]
    assert not [part for part in outputs if part["output_type"] == "error"]
    assert any("image/png" in part.get("data", {}) for part in outputs)
