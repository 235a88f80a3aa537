"""A network as a program of ``torch.export``: what converters in environments of their own are given."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featherlight.engines.exported import LOGITS, PROBABILITIES, ExportedCard
from featherlight.errors import UsageError
from featherlight.images import normalize
from featherlight.models.engine import infer
from featherlight.targets.base import Draft

TOOLS = Path(__file__).with_name("tools")


class _Answering(nn.Module):
    """The network with both outputs of every exported file."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self._network, self._temperature = network, temperature

    def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: A002  (the file's name for it)
        logits = self._network(input)
        return {LOGITS: logits, PROBABILITIES: torch.softmax(logits / self._temperature, dim=-1)}


def save_program(draft: Draft, path: Path) -> None:
    """Writes the network, for one image at a time, as ``.pt2``.

    Raises:
        UsageError: PyTorch cannot trace it.
    """
    card = draft.exported.card
    size = card.preprocessing.input_size
    example = (torch.zeros(1, card.preprocessing.in_channels, size, size),)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of its own workings, nothing that a person could change
            program = torch.export.export(_Answering(draft.network, card.temperature).eval(), example)
            torch.export.save(program, path)
    except Exception as error:  # whatever a network's own code raises
        raise UsageError(f"this network cannot be traced: {str(error).strip().partition(chr(10))[0]:.200}") from error


class NetworkEngine:
    """A network in memory as an engine: what a file was made of, where the file itself cannot run.

    Args:
        network: in evaluation mode on the CPU.
        exported: of the file.
    """

    name = "torch, in place of a runtime that is not for this machine"
    resizes = False

    def __init__(self, network: nn.Module, exported: ExportedCard) -> None:
        self.card, self.exported = exported.card, exported
        self._network = network

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`featherlight.engines.base.Engine`."""
        with torch.inference_mode():
            given = torch.from_numpy(normalize(images, self.card.preprocessing))
            return np.asarray(infer(self._network, given).numpy(), np.float32)
