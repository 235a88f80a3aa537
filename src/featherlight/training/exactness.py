"""Whether a run gives the same bits again, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from featherlight.kernels.library import load_kernels
from featherlight.training.recipe import Recipe


def describe_machine(device: torch.device, recipe: Recipe, processes: int = 1) -> dict[str, str]:
    """What decides on the order of sums, and so on the last bits of weights.

    Args:
        device: where to compute.
        recipe: with its speed fields settled.
        processes: that train together.
    """
    return {
        "device": device.type,
        "threads": str(recipe.threads or torch.get_num_threads()),
        "operators": "kernels" if recipe.kernels == "on" and load_kernels() else "PyTorch's",
        "torch": torch.__version__,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "processes": str(processes),
    }


def why_inexact(recipe: Recipe, machine: Mapping[str, str], written_on: Mapping[str, str]) -> str | None:
    """Why this run's weights will not be, bit for bit, those of the same run left alone; None: they will.

    Args:
        recipe: of the run.
        machine: where it runs now.
        written_on: where its checkpoint was written; empty: there is none.
    """
    if recipe.time_s > 0:
        return "how many steps the time allows depends on the machine: the same seed will not give the same weights"
    if machine["device"] != "cpu":
        return f"PyTorch does not add in the same order each time on {machine['device']}: weights differ in last bits"
    changed = [
        f"{name} {written_on[name]}, now {value}"
        for name, value in machine.items()
        if written_on.get(name, value) != value
    ]
    if changed:
        return f"the checkpoint was written with {'; '.join(changed)}: weights will differ in last bits"
    return None
