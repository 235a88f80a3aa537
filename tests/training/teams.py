"""Real processes that train together.

They are forked from a process that has imported everything and computed nothing: PyTorch's gradients do not survive a
fork of a process that has computed some, as one that runs tests has.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from featherlight.training.team import Team, join_team

PATIENCE_S = 120


def run_team(world: int, work: Callable[[Team], Any], folder: Path) -> list[Any]:
    """What ``work`` returns in each of the processes, by rank; fails as the first of them that fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["featherlight.workflows.train"])
    packed = cloudpickle.dumps(work)  # work may be a function inside a test
    members = [context.Process(target=_member, args=(rank, world, port, packed, folder)) for rank in range(world)]
    for member in members:
        member.start()
    for member in members:
        member.join(PATIENCE_S)
        if member.is_alive():
            member.kill()
    for rank in range(world):
        error = folder / f"error-{rank}.txt"
        assert not error.exists(), error.read_text()
    assert [member.exitcode for member in members] == [0] * world
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(world)]


def _member(rank: int, world: int, port: int, packed: bytes, folder: Path) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    code = 0
    try:
        with join_team(lambda: torch.device("cpu")) as team:
            torch.save(cloudpickle.loads(packed)(team), folder / f"result-{rank}.pt")
    except BaseException:
        (folder / f"error-{rank}.txt").write_text(traceback.format_exc())
        code = 1
    os._exit(code)
