"""Padding becomes part of the convolution behind it."""

from __future__ import annotations

import torch.nn.functional as F
from comparing import after
from torch import Tensor, nn

from featherlight.models.layers import SameConv2d


def test_an_even_padding_goes_into_the_convolution() -> None:
    network = nn.Sequential(nn.ZeroPad2d((2, 2, 1, 1)), nn.Conv2d(3, 4, 3, 2, padding=1))
    assert after(network, "merge_pads")[0] == {"conv2d": 1}


def test_two_paddings_become_one() -> None:
    network = nn.Sequential(nn.ZeroPad2d((1, 0, 0, 1)), nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(3, 4, 3))
    assert after(network, "merge_pads")[0] == {"conv2d": 1}


def test_an_uneven_padding_is_refused_with_the_reason() -> None:
    counts, step = after(nn.Sequential(SameConv2d(3, 4, 3, 2)), "merge_pads", shape=(2, 3, 8, 8))
    assert counts["conv2d"] == 1
    assert len(counts) == 2
    assert step.refused == {"a padding that is not the same on both sides": 1}


class Padded(nn.Module):
    """Pads with something else than zeros, or cuts off."""

    def __init__(self, sides: tuple[int, ...], value: float) -> None:
        super().__init__()
        self.sides, self.value, self.conv = sides, value, nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.sides, value=self.value))


def test_other_paddings_stay() -> None:
    for network in (Padded((1, 1, 1, 1), 0.5), Padded((-1, -1, 0, 0), 0.0), Padded((0, 0, 0, 0, 0, 0), 0.0)):
        assert sum(after(network, "merge_pads")[0].values()) >= 1
    assert len(after(Padded((1, 1, 1, 1), 0.5), "merge_pads")[0]) == 2
