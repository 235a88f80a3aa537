"""Which device computes: the names a user types, through PyTorch's own accelerator interface."""

from __future__ import annotations

import importlib
import importlib.util
import os

import torch

from featherlight.errors import UsageError

DEVICE_TYPES = ("cpu", "cuda", "mps", "npu", "xpu")


def available_devices() -> list[str]:
    """Device types that compute on this machine; ``cpu`` always does."""
    _load_ascend()
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return ["cpu"] if accelerator is None else ["cpu", accelerator.type]


def select_device(name: str = "auto") -> torch.device:
    """Returns the device called ``name``; ``auto`` prefers the accelerator PyTorch finds.

    Raises:
        UsageError: unknown name, or no such device here.
    """
    available = available_devices()
    if name == "auto":
        return _own_device(available[-1])
    kind = name.partition(":")[0]
    if kind not in DEVICE_TYPES:
        raise UsageError(f"unknown device {name!r}; there are: auto, {', '.join(DEVICE_TYPES)}")
    if kind not in available:
        raise UsageError(f"device {name!r} is not available here; available: {', '.join(available)}")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is not a device name: {kind} or {kind}:0 is expected") from error
    if ":" not in name:
        return _own_device(kind)
    count = 1 if kind == "cpu" else torch.accelerator.device_count()
    if device.index >= count:
        raise UsageError(f"device {name!r} is not available here; number of {kind} devices: {count}")
    return device


def _own_device(kind: str) -> torch.device:
    """The device of this kind; of processes that ``torchrun`` started together, each has one of its own."""
    if kind in ("cpu", "mps") or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) == 1:
        return torch.device(kind)
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.accelerator.device_count()
    if number >= count:
        raise UsageError(f"there are more processes than {kind} devices here; use --nproc-per-node={count}")
    return torch.device(kind, number)


def _load_ascend() -> None:  # Huawei's plug-in registers the device type "npu" when it is imported
    if importlib.util.find_spec("torch_npu") is not None:
        importlib.import_module("torch_npu")
