"""A speed plan: in which of PyTorch's ways a step is computed. It changes rounding, never what is computed."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from featherlight.cost.latency import usable_cores

Layout = Literal["channels-last", "channels-first"]
Precision = Literal["float32", "bfloat16"]

SMALL_BATCH = 64 * 32 * 32  # pixels; below, threads may wait for each other longer than they compute


@dataclass(frozen=True)
class SpeedPlan:
    """How a training step is computed; the names are those of the recipe's fields.

    Attributes:
        layout: of images and weights in memory.
        precision: of convolutions and products; weights, statistics and the loss are float32 in any case.
        compile: by torch.compile, which takes its time at the start.
        threads: cores that compute.
    """

    layout: Layout = "channels-last"
    precision: Precision = "float32"
    compile: bool = False
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        """As a person reads it."""
        how = "compiled" if self.compile else "eager"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{how} {self.precision} {self.layout}, {threads}"


PLAIN = SpeedPlan("channels-first", "float32", compile=False)


def default_threads() -> int:
    """Threads that PyTorch would take; never more than there are cores."""
    return min(torch.get_num_threads(), usable_cores())


def candidates(pinned: Mapping[str, Any], device: torch.device, pixels: int) -> list[SpeedPlan]:
    """The sensible plans for a device, the likeliest first; compiled ones come last.

    Args:
        pinned: fields that the person has set.
        device: where to compute.
        pixels: of all images in a batch.
    """
    on_cpu = device.type == "cpu"
    threads = default_threads()
    choices: dict[str, list[Any]] = {
        "compile": [False] if cannot_compile(device) else [False, True],
        "threads": [threads, 1] if on_cpu and threads > 1 and pixels <= SMALL_BATCH else [threads],
        "precision": ["float32", "bfloat16"] if computes_bfloat16(device) else ["float32"],
        "layout": ["channels-last", "channels-first"],
    }
    choices |= {name: [value] for name, value in pinned.items()}
    plans = [
        SpeedPlan(layout, precision, compile=compiled, threads=count)
        for compiled, count, precision, layout in product(
            choices["compile"], choices["threads"], choices["precision"], choices["layout"]
        )
    ]
    # One thread and channels first were never faster together with anything else than alone: not worth their time.
    usual = plans[0]
    return [plan for plan in plans if plan.compile or _changes(plan, usual) <= 1] or plans


def _changes(plan: SpeedPlan, other: SpeedPlan) -> int:
    return sum(a != b for a, b in zip(plan.to_dict().values(), other.to_dict().values(), strict=True))


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is emulated and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return device.type in ("npu", "xpu")
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _processor_flags())


def cannot_compile(device: torch.device) -> str | None:
    """Why torch.compile is of no use here; None if it may be."""
    if platform.system() == "Windows":
        return "torch.compile needs a C++ compiler"
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        return None if shutil.which(compiler) or shutil.which("clang++") else f"no C++ compiler ({compiler}) here"
    return None if device.type == "cuda" else f"torch.compile is not used on {device.type}"


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
