"""Everything training needs to go on, in one safetensors file: whole or not there, and no pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from featherlight.errors import ModelFileError
from featherlight.files import write_bytes

Modules = Mapping[str, nn.Module | None]

CHECKPOINT_FILE = Path("last") / "checkpoint.safetensors"


@dataclass
class Progress:
    """Where training stands.

    Attributes:
        epoch: epochs finished.
        batch: batches done in the unfinished one.
        step: updates of the weights since the start.
        batches: batches since the start, as many as updates unless gradients are accumulated; -1: as many.
        gathered: images whose gradients wait for the next update.
        images_seen: since the start.
        seconds: since the start, validation included, across resumes.
        loss_sum: of the unfinished epoch, weighted by images.
        correct: of the unfinished epoch.
        epoch_images: images seen in the unfinished epoch.
        best_top1: on validation, so far.
        last_top1: of the last validation.
        stale: validations since the best.
        validation_s: how long the last validation took, or is expected to take.
        validation_image_s: how long an image took in training at that time.
        validating_s: how long all validations took.
        save_s: how long the last checkpoint took to write.
        factor: the last update's learning rate as a part of the recipe's.
        planned_epochs: the recipe's when this was written; with ``planned_time_s`` 0: an older version wrote it.
        planned_time_s: likewise.
        leg_start: part of the run, in [0, 1], at which it was extended.
        leg_factor: ``factor`` at that time.
        stopped: why it ended before its length: ``target``, ``patience`` or nothing.
        finished: nothing is left to do.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    batches: int = -1
    gathered: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    correct: int = 0
    epoch_images: int = 0
    best_top1: float = -1.0
    last_top1: float = -1.0
    stale: int = 0
    validation_s: float = 0.0
    validation_image_s: float = 0.0
    validating_s: float = 0.0
    save_s: float = 0.0
    factor: float = 0.0
    planned_epochs: int = 0
    planned_time_s: float = 0.0
    leg_start: float = 0.0
    leg_factor: float = 0.0
    stopped: str = ""
    finished: bool = False

    def __post_init__(self) -> None:
        if self.batches < 0:
            self.batches = self.step


@dataclass(frozen=True)
class Origin:
    """What the bits of a run depend on besides its recipe.

    Attributes:
        data: fingerprint of the images.
        teacher: fingerprint of the teacher's weights; empty: none.
        machine: versions, threads and device, by name.
    """

    data: str
    teacher: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What a checkpoint holds besides the modules and the optimiser.

    Attributes:
        progress: where training stands.
        best: the state of the best network so far, empty if it is not kept.
        gradients: by parameter's name; of a group of batches that has not become an update yet.
        machine: on which it was written; empty: not known.
    """

    progress: Progress
    best: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    run: Path, modules: Modules, optimizer: torch.optim.Optimizer, stored: Stored, origin: Origin
) -> None:
    """Writes ``last/checkpoint.safetensors`` atomically.

    Args:
        run: run directory.
        modules: by name; their whole state is stored.
        optimizer: its buffers are stored, its rates follow from the progress.
        stored: where training stands, and further tensors.
        origin: what the run depends on.

    Raises:
        FeatherlightError: it cannot be written; the one before is untouched.
    """
    tensors = {
        f"{name}/{key}": value
        for name, module in modules.items()
        if module is not None
        for key, value in module.state_dict().items()
    }
    for index, buffers in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in buffers.items() if isinstance(value, Tensor)}
    tensors |= {f"extra/{key}": value for key, value in stored.best.items()}
    tensors |= {f"gradient/{key}": value for key, value in stored.gradients.items()}
    # clones: safetensors refuses shared memory, and contiguous: it stores no strides
    plain = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    metadata = {
        "progress": json.dumps(asdict(stored.progress)),
        "fingerprint": origin.data,
        "teacher": origin.teacher,
        "machine": json.dumps(dict(origin.machine)),
    }
    write_bytes(run / CHECKPOINT_FILE, save(plain, metadata))


def load_checkpoint(run: Path, modules: Modules, optimizer: torch.optim.Optimizer, origin: Origin) -> Stored:
    """Puts a run's last state back into ``modules`` and ``optimizer``.

    Returns:
        The rest of what it holds; a fresh progress when there is no checkpoint yet.

    Raises:
        ModelFileError: the checkpoint is damaged, does not fit, or belongs to other data or another teacher.
    """
    path = run / CHECKPOINT_FILE
    if not path.exists():
        return Stored(Progress())
    with _damage_explained(path), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        progress = Progress(**json.loads(metadata["progress"]))
        machine = json.loads(metadata.get("machine", "{}"))
    _check_origin(run, metadata, origin)
    try:
        for name, module in modules.items():
            if module is not None:
                module.load_state_dict(_below(tensors, f"{name}/"))
        _restore_optimizer(optimizer, _below(tensors, "optimizer/"))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelFileError(f"{path}: does not fit the run's recipe ({error})") from error
    return Stored(progress, _below(tensors, "extra/"), _below(tensors, "gradient/"), machine)


def read_progress(run: Path) -> Progress:
    """Where a run stands, without its tensors; fresh when there is no checkpoint yet.

    Raises:
        ModelFileError: the checkpoint is damaged.
    """
    path = run / CHECKPOINT_FILE
    if not path.exists():
        return Progress()
    with _damage_explained(path), safe_open(path, framework="pt") as file:
        return Progress(**json.loads((file.metadata() or {})["progress"]))


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: damaged checkpoint ({error}); train again into a new folder") from error


def _check_origin(run: Path, metadata: Mapping[str, str], origin: Origin) -> None:
    if metadata.get("fingerprint") != origin.data:
        raise ModelFileError(
            f"{run}: the images have changed since this run began, so it cannot be taken up "
            "again. Train anew with: featherlight train"
        )
    if metadata.get("teacher", "") != origin.teacher:
        raise ModelFileError(
            f"{run}: the teacher has changed since this run began, so it cannot be taken up again. "
            "Put the teacher's model file back, or train anew with: featherlight train"
        )


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
