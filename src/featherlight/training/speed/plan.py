"""A speed plan: in which of PyTorch's ways a step is computed. It changes rounding, never what is computed."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from featherlight.cost.latency import usable_cores
from featherlight.kernels.library import has_bfloat16

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
        kernels: by Featherlight's own, see :mod:`featherlight.kernels`.
        threads: cores that compute.
    """

    layout: Layout = "channels-last"
    precision: Precision = "float32"
    compile: bool = False
    kernels: bool = False
    threads: int = 1

    @property
    def is_possible(self) -> bool:
        """Kernels compute images that lie channels last, are compiled already, and may have no bfloat16 here."""
        if not self.kernels:
            return True
        return self.layout == "channels-last" and not self.compile and (self.precision == "float32" or has_bfloat16())

    def to_dict(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        """As a person reads it."""
        how = "compiled" if self.compile else "kernels," if self.kernels else "eager"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{how} {self.precision} {self.layout}, {threads}"


PLAIN = SpeedPlan("channels-first", "float32", compile=False)


def default_threads() -> int:
    """Threads that PyTorch would take; never more than there are cores."""
    return min(torch.get_num_threads(), usable_cores())


def candidates(pinned: Mapping[str, Any], device: torch.device, pixels: int, *, kernels: bool) -> list[SpeedPlan]:
    """The sensible plans for a device, the likeliest first; compiled ones come last.

    Args:
        pinned: fields that the person has set.
        device: where to compute.
        pixels: of all images in a batch.
        kernels: whether they can compute the network.
    """
    usual = SpeedPlan(threads=default_threads())
    fast = replace(usual, kernels=True)
    plans = [fast, usual] if kernels else [usual]
    if device.type == "cpu" and usual.threads > 1 and pixels <= SMALL_BATCH:
        plans.append(replace(plans[0], threads=1))
    if computes_bfloat16(device):
        plans += [replace(plan, precision="bfloat16") for plan in ((fast, usual) if kernels else (usual,))]
    plans.append(replace(usual, layout="channels-first"))
    if cannot_compile(device) is None:
        plans += [replace(plan, compile=True) for plan in plans if not plan.kernels]
    plans = list(dict.fromkeys(replace(plan, **pinned) for plan in plans))
    return [plan for plan in plans if plan.is_possible] or [replace(plans[0], kernels=False)]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is emulated and slow."""
    if device.type == "cpu":
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & _processor_flags())
    return _says_bfloat16(device) and convolves_in_bfloat16(device)


def _says_bfloat16(device: torch.device) -> bool:
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    ask = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    if ask is None:
        return False
    return bool(ask(including_emulation=False) if device.type in ("cuda", "xpu") else ask())


def convolves_in_bfloat16(device: torch.device) -> bool:
    """Whether a convolution under autocast works there, forwards and backwards: a driver may lack what a chip has."""
    layer = nn.Conv2d(8, 8, 1, device=device)
    try:
        with torch.autocast(device.type, torch.bfloat16):
            loss = layer(torch.ones(2, 8, 4, 4, device=device)).float().sum()
        loss.backward()
    except (RuntimeError, NotImplementedError, AssertionError):
        return False
    return layer.weight.grad is not None and bool(torch.isfinite(layer.weight.grad).all())


def cannot_compile(device: torch.device) -> str | None:
    """Why torch.compile is of no use here; None if it may be."""
    if platform.system() == "Windows":
        return "torch.compile needs a C++ compiler"
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        return None if shutil.which(compiler) or shutil.which("clang++") else f"no C++ compiler ({compiler}) here"
    if device.type not in ("cuda", "xpu"):
        return f"torch.compile is not used on {device.type}"
    if importlib.util.find_spec("triton") is None:
        return "torch.compile needs Triton"
    if device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (7, 0):
        return "torch.compile needs a GPU of compute capability 7.0 or newer"
    return None


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
