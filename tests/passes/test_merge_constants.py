"""Arithmetic with constants becomes one step, or part of a layer."""

from __future__ import annotations

import torch
from comparing import after
from torch import Tensor, nn


class Arithmetic(nn.Module):
    """Any function of x, between two layers."""

    def __init__(self, function: object, before: nn.Module | None = None, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.function = function
        self.before, self.behind = before or nn.ReLU(), behind or nn.ReLU()
        self.register_buffer("scale", torch.rand(3, 1, 1) + 0.5)
        self.register_buffer("image", torch.rand(3, 8, 7))

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.function(self, self.before(x)))


def test_a_chain_becomes_one_multiplication_and_one_addition() -> None:
    network = Arithmetic(lambda m, x: 1 - ((x * 2 + m.scale) / m.scale - 0.5) * 3)
    assert after(network, "merge_constants")[0] == {"add": 1, "mul": 1, "relu": 2}


def test_arithmetic_that_does_nothing_goes() -> None:
    assert after(Arithmetic(lambda m, x: (x * 4 + 0) / 4), "merge_constants")[0] == {"relu": 2}


def test_a_chain_behind_a_convolution_goes_into_it() -> None:
    network = Arithmetic(lambda m, x: (x - m.scale) * 2, before=nn.Conv2d(3, 3, 3, padding=1))
    assert after(network, "merge_constants")[0] == {"conv2d": 1, "relu": 1}


def test_only_a_multiplication_goes_into_a_padded_convolution_behind_it() -> None:
    padded = nn.Conv2d(3, 3, 3, padding=1)
    assert after(Arithmetic(lambda m, x: x * m.scale, behind=padded), "merge_constants")[0] == {"conv2d": 1, "relu": 1}
    counts, step = after(Arithmetic(lambda m, x: x + m.scale, behind=padded), "merge_constants")
    assert counts["add"] == 1
    assert step.refused == {"an addition in front of a padded convolution: its zeros would be shifted": 1}


def test_constants_that_differ_between_positions_are_left_alone() -> None:
    assert after(Arithmetic(lambda m, x: x * m.image + m.image), "merge_constants")[0]["mul"] == 1


def test_a_constant_divided_by_the_image_is_left_alone() -> None:
    assert after(Arithmetic(lambda m, x: 2 / (x + 1)), "merge_constants")[0]["add"] == 1


def test_an_intermediate_result_that_is_used_elsewhere_stays() -> None:
    def function(m: Arithmetic, x: Tensor) -> Tensor:
        y = x * 2
        return torch.cat((y, y + m.scale), 1)

    assert after(Arithmetic(function), "merge_constants")[0] == {"add": 1, "cat": 1, "mul": 1, "relu": 2}
