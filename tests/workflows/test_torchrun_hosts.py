"""Two hosts that train together: each has a network of its own, and a wire between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

HOSTS = {"featherlight-a": "10.201.77.1", "featherlight-b": "10.201.77.2"}
WIRE = "wire"
SETTINGS = ["--model", "mobilenet_v1_x0_25", "--epochs", "3", "--speed", "plain", "--device", "cpu"]
FIELDS = ["--set", "input_size=16", "--set", "batch_size=12"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason="makes networks, which takes root and the program ip",
    ),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces; nothing but the wire leads out of them."""
    first, second = HOSTS
    for name in HOSTS:
        try:
            ip("netns", "add", name)
        except subprocess.CalledProcessError as error:  # root of a container, as a rule, may not
            pytest.skip(f"cannot make a network: {error.stderr.strip()}")
    try:
        ip("-n", first, "link", "add", WIRE, "type", "veth", "peer", "name", WIRE, "netns", second)
        for name, address in HOSTS.items():
            ip("-n", name, "address", "add", f"{address}/24", "dev", WIRE)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", WIRE, "up")
        yield [first, second]
    finally:
        for name in HOSTS:
            ip("netns", "del", name)


def start(host: str, number: int, data: Path, out: Path) -> subprocess.Popen[str]:
    """One process of training on a host, as a person starts it on each."""
    launcher = ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
    launcher += [f"--node-rank={number}", "--nproc-per-node=1", f"--master-addr={HOSTS['featherlight-a']}"]
    launcher += ["--master-port=29511", "-m", "featherlight", "train", str(data), "--out", str(out), *SETTINGS, *FIELDS]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": WIRE}
    return subprocess.Popen(launcher, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_two_hosts_train_what_two_processes_of_one_do(hosts: list[str], color_folder: Path, tmp_path: Path) -> None:
    processes = [start(host, number, color_folder, tmp_path / "hosts") for number, host in enumerate(hosts)]
    answers = [process.communicate(timeout=900) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert ["test accuracy" in out for out, _ in answers] == [True, False]  # one of them speaks
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "featherlight",
    ]
    arguments = ["train", str(color_folder), "--out", str(tmp_path / "one"), *SETTINGS, *FIELDS]
    subprocess.run([*launcher, *arguments], check=True, capture_output=True, timeout=900)
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("hosts", "one"))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
