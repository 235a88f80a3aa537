from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_server import Running, run_server, write_colour_model


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_model(tmp_path_factory.mktemp("colours") / "model.onnx")


@pytest.fixture(scope="session")
def server(colour_model: Path) -> Iterator[Running]:
    """A server with small limits, for tests that leave it as it was."""
    options = ("--max-body", "1MB", "--max-pixels", "1MP", "--max-files", 8, "--request-timeout", "20s", "--threads", 2)
    with run_server(colour_model, *options) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
