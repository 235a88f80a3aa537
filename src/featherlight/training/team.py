"""Processes that train one network together: same weights in all of them, each batch shared among them.

They are started by ``torchrun`` (or whatever sets its environment variables) and talk through ``torch.distributed``.
After each update all processes hold the same weights, statistics and optimiser, so that any of them could write the
checkpoint; the leader does. What depends on a clock is the leader's decision.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from featherlight.console import silence
from featherlight.errors import FeatherlightError, TrainingStoppedError

ENGINES = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl"}  # numbers on the processor go through gloo in any case
PATIENCE = timedelta(hours=6)  # the leader may prepare images or evaluate for long

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Team:
    """All processes, seen from one of them.

    Attributes:
        rank: of this process, from 0.
        world: how many there are.
        local_rank: of this process on its machine.
        direct: device types whose tensors are exchanged without a detour over the processor's memory.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    direct: tuple[str, ...] = ("cpu",)

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to agree with."""
        return self.world == 1

    @property
    def is_leader(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, on the same device."""
        if self.is_alone:
            return tensor
        total = tensor.detach().clone() if tensor.device.type in self.direct else tensor.detach().cpu()
        with lost_explained():
            distributed.all_reduce(total)
        return total.to(tensor.device)

    def total(self, *values: float) -> list[float]:
        """The sum of each number over all processes."""
        if self.is_alone:
            return list(values)
        result: list[float] = self.add(torch.tensor(values, dtype=torch.float64)).tolist()
        return result

    def share(self, value: _Value) -> _Value:
        """The leader's value, in all processes."""
        if self.is_alone:
            return value
        box = [value]
        with lost_explained():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def decide(self, choose: Callable[[], _Value], otherwise: _Value) -> _Value:
        """What the leader alone finds out, in all processes; ``otherwise`` is never returned."""
        return self.share(choose() if self.is_leader else otherwise)

    def collect(self, value: _Value) -> list[_Value]:
        """Every process's value, by rank, in all processes."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.world
        with lost_explained():
            distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """One process of each machine does what is inside first, so that the others find its caches filled."""
        if not self.is_alone and self.local_rank != 0:
            self.total(0)
        yield
        if not self.is_alone and self.local_rank == 0:
            self.total(0)

    def copy_from_leader(self, tensors: Sequence[Tensor]) -> None:
        """Every process gets the leader's numbers."""
        for tensor in tensors if not self.is_alone else ():
            held = tensor.detach().contiguous()
            held = held if held.device.type in self.direct else held.cpu()
            with lost_explained():
                distributed.broadcast(held, src=0)
            tensor.detach().copy_(held)

    def combine(self, gradients: Sequence[Tensor], statistics: Sequence[Tensor], images: int) -> int:
        """Sums of gradients become the mean over all processes' images; statistics, the mean over the processes.

        All goes in one message, in place. A process without images counts for neither.

        Args:
            gradients: each of the sum of the losses of this process's images.
            statistics: running means and variances.
            images: of this process.

        Returns:
            The images of all.
        """
        took_part = 1.0 if images else 0.0
        first = gradients[0]
        counts = torch.tensor([float(images), took_part], dtype=first.dtype, device=first.device)
        parts = [*gradients, *(statistic * took_part for statistic in statistics), counts]
        flat = self.add(torch.cat([part.reshape(-1) for part in parts]))
        *found, counts = torch.split(flat, [part.numel() for part in parts])
        for number, (tensor, value) in enumerate(zip([*gradients, *statistics], found, strict=True)):
            divisor = counts[0] if number < len(gradients) else counts[1]
            tensor.copy_(value.view(tensor.shape) / divisor.clamp(min=1))
        return int(counts[0].item())


ALONE = Team()


@contextmanager
def join_team(device: Callable[[], torch.device]) -> Iterator[Team]:
    """Joins the processes that were started together; alone, where there are no others.

    All but the leader are silent inside.

    Args:
        device: where this process will compute.

    Raises:
        FeatherlightError: the processes do not find each other.
        TrainingStoppedError: one of them is lost.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ or distributed.is_initialized():
        yield current_team()
        return
    kind = device().type
    engine = f"cpu:gloo,{kind}:{ENGINES[kind]}" if kind in ENGINES else "gloo"
    if kind in ENGINES:
        torch.accelerator.set_device_index(device().index or 0)
    try:
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        # torchrun keeps its store when it starts workers anew: what the lost ones left in it must not be found.
        start = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        distributed.init_process_group(engine, timeout=PATIENCE, store=start, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise FeatherlightError(
            f"the {world} processes do not find each other ({error}); start them with: "
            "torchrun --nproc-per-node=N -m featherlight train ..."
        ) from error
    try:
        team = current_team()
        if team.is_leader:
            yield team
        else:
            with silence():
                yield team
    finally:
        distributed.destroy_process_group()


def current_team() -> Team:
    """The team that this process has joined; :data:`ALONE` outside one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    direct = tuple(kind for kind, engine in ENGINES.items() if engine in distributed.get_backend_config())
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return Team(distributed.get_rank(), distributed.get_world_size(), local_rank, ("cpu", *direct))


@contextmanager
def lost_explained() -> Iterator[None]:
    """An exchange that breaks off: another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingStoppedError(
            "another of the processes that train together has ended. torchrun --max-restarts N starts them all again "
            "and goes on from the last checkpoint; or go on with --resume"
        ) from error
