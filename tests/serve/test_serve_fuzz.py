"""Damaged images, and whatever the description of the interface allows: no 500, no hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from running_server import Running, run_server

SEED = int(os.environ.get("FEATHERLIGHT_FUZZ_SEED", "0"))  # another number looks at other images
sys.path.append(str(Path(__file__).parents[1] / "fuzz"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def send_damaged_images(server: Running, count: int) -> Counter[int]:
    from mutations import make_mutants

    statuses: Counter[int] = Counter()
    with server.client() as client:
        for name, data in make_mutants(count, SEED):
            headers = {"content-type": "application/octet-stream"}
            status = client.post("/v1/predict", content=data, headers=headers).status_code
            assert status in (200, 400, 413), name
            statuses[status] += 1
        assert client.get("/healthz").status_code == 200
    return statuses


def try_what_is_described(server: Running, examples: int) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--max-examples", str(examples),
        "--seed", str(SEED), "--checks", CHECKS, "--request-timeout", "30", "--workers", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_damaged_images_are_answered_or_refused(server: Running) -> None:
    assert {200, 400} <= set(send_damaged_images(server, 100))


@pytest.mark.slow
def test_many_damaged_images_are_answered_or_refused(colour_model: Path) -> None:
    with run_server(colour_model) as server:
        assert sum(send_damaged_images(server, 2200).values()) == 2200


def test_what_is_described_holds(server: Running) -> None:
    try_what_is_described(server, 3)


@pytest.mark.slow
def test_what_is_described_holds_for_many_examples(colour_model: Path) -> None:
    with run_server(colour_model, "--max-body", "1MB") as server:
        try_what_is_described(server, 150)
