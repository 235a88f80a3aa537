"""Normalising the image becomes part of the first convolution."""

from __future__ import annotations

import torch
from comparing import after
from torch import Tensor, nn

NAME = "fold_normalisation"


class Normalised(nn.Module):
    """(x - mean) / std, then a network."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_all_of_it_goes_into_an_unpadded_convolution() -> None:
    assert after(Normalised(nn.Conv2d(3, 4, 3, 2), MEAN, STD), NAME)[0] == {"conv2d": 1}


def test_the_division_goes_into_a_padded_convolution() -> None:
    assert after(Normalised(nn.Conv2d(3, 4, 3, 2, 1), MEAN, STD), NAME)[0] == {"add": 1, "conv2d": 1}


def test_a_mean_that_all_channels_share_becomes_the_padding() -> None:
    network = Normalised(nn.Conv2d(3, 4, 3, 2, (1, 2)), (0.5, 0.5, 0.5), STD)
    assert after(network, NAME)[0] == {"constant_pad_nd": 1, "conv2d": 1}


def test_a_grey_image_is_padded_with_its_mean() -> None:
    network = Normalised(nn.Conv2d(1, 4, 3, padding=1), (0.45,), (0.3,))
    assert after(network, NAME, shape=(2, 1, 8, 8))[0] == {"constant_pad_nd": 1, "conv2d": 1}


def test_means_that_differ_are_refused_with_the_reason() -> None:
    counts, step = after(Normalised(nn.Conv2d(3, 4, 3, 2, 1), MEAN, (1.0, 1.0, 1.0)), "merge_constants", NAME)
    assert counts == {"add": 1, "conv2d": 1}
    assert step.refused == {"the image is padded, and the channels' means differ": 1}
