from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from visiting import Visit

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))  # its server in a process of its own


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Opens an address; options are those of a Playwright context."""
    opened: list[Any] = []

    def open_page(url: str, **options: Any) -> Visit:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1180, "height": 860}, **options})
        opened.append(context)
        one = Visit(context)
        one.page.goto(url)
        return one

    yield open_page
    for context in opened:
        context.close()


@pytest.fixture(scope="session")
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where npm has just installed the browser's ONNX Runtime."""
    from featherlight.targets.web_runtime import VERSION

    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on this machine")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"onnxruntime-web@{VERSION}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("npm cannot fetch onnxruntime-web now")
    return folder
