from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from featherlight.training.checkpoint import CHECKPOINT_FILE

SETTINGS = ["--model", "mobilenet_v1_x0_25", "--epochs", "12", "--speed", "plain", "--device", "cpu"]
FIELDS = ["input_size=16", "batch_size=12", "checkpoint_every_s=0"]


def start(data: Path, out: Path, *, processes: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command = ["-m", "featherlight", "train", str(data), "--out", str(out), *SETTINGS]
    fields = [part for field in FIELDS for part in ("--set", field)]
    arguments = [*launcher, f"--max-restarts={restarts}", *command, *fields]
    return subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def workers_of(launcher: int) -> list[int]:
    """Processes that train, by number."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return sorted(int(child) for child in children if b"featherlight" in Path(f"/proc/{child}/cmdline").read_bytes())


def wait_for_rows(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    metrics = out / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
def test_a_killed_worker_is_started_again_and_nothing_is_lost(tmp_path, color_folder):
    whole = start(color_folder, tmp_path / "whole")
    whole_out, whole_err = whole.communicate(timeout=300)
    assert whole.returncode == 0, whole_err
    assert whole_out.count("test accuracy") == 1  # one of them speaks
    out = tmp_path / "killed"
    process = start(color_folder, out, restarts=2)
    wait_for_rows(out, 3, process)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "going on with" in err
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert [row["images_seen"] for row in rows] == [36 * epoch for epoch in range(1, 13)]
    expected, found = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert (out / "evaluation.json").exists()


@pytest.mark.slow
def test_a_taken_directory_is_refused_also_by_a_restart(tmp_path, color_folder, tiny_run):
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny_run.rglob("*"))
    process = start(color_folder, tiny_run, restarts=1)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "choose another --out" in err
    assert sorted((path, path.stat().st_mtime_ns) for path in tiny_run.rglob("*")) == before


@pytest.mark.slow
def test_ctrl_c_saves_and_another_number_of_processes_goes_on(tmp_path, color_folder):
    out = tmp_path / "run"
    process = start(color_folder, out, processes=4)
    wait_for_rows(out, 2, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert (out / CHECKPOINT_FILE).exists()
    assert not (out / "model.safetensors").exists()
    again = [sys.executable, "-m", "featherlight", "train", "--resume", str(out)]
    alone = subprocess.run(again, text=True, capture_output=True, timeout=300)
    assert alone.returncode == 0, alone.stderr
    assert "processes 4, now 1" in alone.stderr
    assert (out / "model.safetensors").exists()
