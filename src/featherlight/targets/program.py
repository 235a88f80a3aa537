"""A network as a program of ``torch.export``: what converters in environments of their own are given."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from featherlight.engines.exported import LOGITS, PROBABILITIES
from featherlight.errors import UsageError
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
