"""One training step's computation: images and targets in, loss out, gradients in the parameters.

This is the one place where it is decided how a network is computed in training. What is exchanged here (layout,
precision, compiled code) leaves the network's modules and weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from featherlight.kernels import accelerate
from featherlight.training.speed.plan import SpeedPlan

Loss = Callable[[Tensor, Tensor], Tensor]


class TrainingStep:
    """Computes a network forwards and backwards as a plan says.

    Args:
        model: the network; its weights are brought into the plan's layout.
        plan: how.
    """

    def __init__(self, model: nn.Module, plan: SpeedPlan) -> None:
        self.model, self.plan = model, plan
        self._format = torch.channels_last if plan.layout == "channels-last" else torch.contiguous_format
        model.to(memory_format=self._format)
        reduced = plan.precision == "bfloat16"
        kernels = accelerate(model, reduced=reduced) if plan.kernels else None
        self._fast = torch.compile(model, dynamic=False) if plan.compile else kernels or model
        self._autocast = reduced and kernels is None  # the kernels round what they multiply themselves
        self._count = 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K), float32, of images (N, C, S, S); the model's modes are the caller's."""
        images = images.contiguous(memory_format=self._format)
        self._count = self._count or len(images)
        # An epoch's last batch may be smaller. Compiling for it alone would never pay.
        network = self._fast if len(images) == self._count or not self.plan.compile else self.model
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._autocast):
            logits: Tensor = network(images)
        return logits.float()

    def backward(self, loss: Tensor) -> None:
        """Adds the loss's gradients to the parameters'."""
        loss.backward()  # type: ignore[no-untyped-call]


@contextmanager
def plan_threads(plan: SpeedPlan) -> Iterator[None]:
    """Computes with the plan's number of threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
