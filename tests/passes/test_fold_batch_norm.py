"""Norms become part of the layer beside them, where that is exact."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from comparing import after, randomised
from torch import Tensor, nn


def test_a_norm_behind_a_convolution_goes_into_it() -> None:
    for bias in (False, True):
        for groups in (1, 3, 6):
            network = randomised(
                nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, 2, 1, groups=groups, bias=bias), nn.BatchNorm2d(6))
            )
            assert after(network, "fold_batch_norm")[0] == {"conv2d": 2}


def test_a_norm_behind_a_linear_layer_goes_into_it() -> None:
    network = randomised(nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU()))
    assert after(network, "fold_batch_norm", shape=(4, 3, 2, 2))[0] == {"flatten": 1, "linear": 1, "relu": 1}


def test_a_norm_in_front_of_an_unpadded_convolution_goes_into_it() -> None:
    for groups in (1, 2):
        network = randomised(
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=groups))
        )
        assert after(network, "fold_batch_norm")[0] == {"conv2d": 2, "relu": 1}


def test_a_norm_in_front_of_a_padded_convolution_is_refused_with_the_reason() -> None:
    network = randomised(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, padding=1)))
    counts, step = after(network, "fold_batch_norm")
    assert counts["batch_norm"] == 1
    assert list(step.refused) == ["a norm in front of a padded convolution: its zeros would be shifted"]


class UsedTwice(nn.Module):
    """The convolution's output goes on without its norm, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) + x


def test_a_convolution_whose_output_is_used_twice_keeps_its_norm() -> None:
    counts, step = after(randomised(UsedTwice()), "fold_batch_norm")
    assert counts["batch_norm"] == 1
    assert step.refused == {"a norm with no convolution or linear layer of its own beside it": 1}


class SharedConvolution(nn.Module):
    """One convolution, two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.conv(F.relu(self.a(self.conv(x)))))


def test_a_convolution_that_runs_twice_gets_weights_for_each_place() -> None:
    assert after(randomised(SharedConvolution()), "fold_batch_norm")[0] == {"conv2d": 2, "relu": 1}


def test_a_linear_layer_over_positions_is_left_alone() -> None:
    network = randomised(nn.Sequential(nn.Flatten(2), nn.Linear(56, 5), nn.BatchNorm1d(3)))
    assert after(network, "fold_batch_norm")[0]["batch_norm"] == 1


def test_norms_without_scale_or_without_statistics() -> None:
    plain = randomised(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)))
    assert after(plain, "fold_batch_norm")[0] == {"conv2d": 1}
    batch = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    counts, step = after(batch, "fold_batch_norm")
    assert counts["batch_norm"] == 1
    assert step.refused == {"a norm without fixed statistics": 1}


def test_a_grey_network_and_a_network_of_one_channel_are_folded() -> None:
    network = randomised(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)))
    assert after(network, "fold_batch_norm", shape=(2, 1, 5, 5))[0] == {"conv2d": 1}
    assert torch.get_default_dtype() == torch.float32
