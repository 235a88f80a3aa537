"""Everything training needs to go on, in one safetensors file: whole or not there, and no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from featherlight.errors import ModelFileError
from featherlight.files import write_bytes

CHECKPOINT_FILE = Path("last") / "checkpoint.safetensors"


@dataclass
class Progress:
    """Where training stands.

    Attributes:
        epoch: epochs finished.
        batch: batches done in the unfinished one.
        step: optimiser steps since the start.
        images_seen: since the start.
        seconds: since the start, validation included, across resumes.
        loss_sum: of the unfinished epoch, weighted by images.
        correct: of the unfinished epoch.
        epoch_images: images seen in the unfinished epoch.
        best_top1: on validation, so far.
        validation_s: how long the last validation took.
        finished: nothing is left to do.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    correct: int = 0
    epoch_images: int = 0
    best_top1: float = -1.0
    validation_s: float = 0.0
    finished: bool = False


def save_checkpoint(
    run: Path,
    modules: dict[str, nn.Module | None],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    extra: dict[str, Tensor],
    fingerprint: str,
) -> None:
    """Writes ``last/checkpoint.safetensors`` atomically.

    Args:
        run: run directory.
        modules: by name; their whole state is stored.
        optimizer: its buffers are stored, its rates follow from the progress.
        progress: where training stands.
        extra: further tensors, such as the best model so far.
        fingerprint: of the data.
    """
    tensors = {
        f"{name}/{key}": value
        for name, module in modules.items()
        if module is not None
        for key, value in module.state_dict().items()
    }
    for index, buffers in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in buffers.items() if isinstance(value, Tensor)}
    tensors |= {f"extra/{key}": value for key, value in extra.items()}
    # clones: safetensors refuses shared memory, and contiguous: it stores no strides
    plain = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    metadata = {"progress": json.dumps(asdict(progress)), "fingerprint": fingerprint}
    write_bytes(run / CHECKPOINT_FILE, save(plain, metadata))


def load_checkpoint(
    run: Path, modules: dict[str, nn.Module | None], optimizer: torch.optim.Optimizer, fingerprint: str
) -> tuple[Progress, dict[str, Tensor]]:
    """Puts a run's last state back into ``modules`` and ``optimizer``.

    Returns:
        The progress and the extra tensors; a fresh progress when there is no checkpoint yet.

    Raises:
        ModelFileError: the checkpoint is damaged, does not fit, or belongs to other data.
    """
    path = run / CHECKPOINT_FILE
    if not path.exists():
        return Progress(), {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        progress = Progress(**json.loads(metadata["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged checkpoint ({error}); train again into a new folder") from error
    if metadata.get("fingerprint") != fingerprint:
        raise ModelFileError(
            f"{run}: the images have changed since this run began, so it cannot be taken up "
            "again. Train anew with: featherlight train"
        )
    try:
        for name, module in modules.items():
            if module is not None:
                module.load_state_dict(_below(tensors, f"{name}/"))
        _restore_optimizer(optimizer, _below(tensors, "optimizer/"))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelFileError(f"{path}: does not fit the run's recipe ({error})") from error
    return progress, _below(tensors, "extra/")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Buffers take their parameter's memory layout: fused optimisers walk both in memory order."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        same_shape = value.shape == parameter.shape  # AdamW's step counters have none
        buffer = torch.empty_like(parameter, requires_grad=False).copy_(value) if same_shape else value
        state.setdefault(int(index), {})[key] = buffer
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
