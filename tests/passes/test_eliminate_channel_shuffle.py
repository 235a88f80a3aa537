"""Shuffles disappear and every output stays what it was."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_same, randomised
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_networks import SPELLINGS, Moved, networks
from torch import Tensor, nn

from featherlight.models.registry import create_model
from featherlight.passes import FORMS, KEPT, simplify, simplify_forms
from featherlight.passes.graph import count_operators

MOVES = {"channel_shuffle", "transpose", "permute", "view", "reshape", "index_select", "index", "flip", "roll", "stack"}


def check_every_form(network: nn.Module, batch: int) -> None:
    forms = simplify_forms(network, torch.zeros(1, 3, 5, 4), dtype=torch.float64)
    x = torch.randn(batch, 3, 5, 4, dtype=torch.float64)
    for result in forms.values():
        assert result.problem is None
        assert_same(result.module, network, x)


# Without shrinking: each example is traced, and what is traced is written down in the message anyway.
some = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@some
@given(networks(), st.integers(1, 4))
def test_random_networks_compute_the_same_in_every_form(network: nn.Module, batch: int) -> None:
    check_every_form(network, batch)


@pytest.mark.slow
@settings(some, max_examples=150)
@given(networks(), st.integers(1, 4))
def test_many_random_networks_compute_the_same_in_every_form(network: nn.Module, batch: int) -> None:
    check_every_form(network, batch)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_shuffle_is_absorbed_by_convolutions(spelling: str) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 12, 1),
        Moved(spelling, 12, 3, 0),
        nn.Conv2d(12, 12, 3, padding=1, groups=12),
        nn.ReLU(),
        nn.Conv2d(12, 5, 1),
    )
    result = simplify(network, torch.zeros(2, 3, 4, 6), dtype=torch.float64)
    assert count_operators(result.module) == {"conv2d": 3, "relu": 1}
    assert_same(result.module, network, torch.randn(3, 3, 4, 6, dtype=torch.float64))


def test_a_shuffle_behind_a_dense_convolution_feeds_groups_without_a_copy() -> None:
    network = nn.Sequential(nn.Conv2d(3, 12, 1), nn.ChannelShuffle(3), nn.ReLU(), nn.Conv2d(12, 6, 1, groups=3))
    result = simplify(network, torch.zeros(2, 3, 4, 4), dtype=torch.float64)
    assert count_operators(result.module) == {"conv2d": 2, "relu": 1}
    assert_same(result.module, network, torch.randn(2, 3, 4, 4, dtype=torch.float64))


class ShuffledSum(nn.Module):
    """Both sides of a residual are shuffled alike."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(6, 6, 1, groups=2) for _ in range(2))
        self.end = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(F.relu(F.channel_shuffle(self.a(x), 3) + F.channel_shuffle(self.b(x), 3)))


def test_two_sides_of_a_sum_agree_on_an_order_without_copies() -> None:
    network = ShuffledSum()
    result = simplify(network, torch.zeros(2, 6, 4, 4), dtype=torch.float64)
    assert count_operators(result.module) == {"add": 1, "conv2d": 3, "relu": 1}
    assert_same(result.module, network, torch.randn(2, 6, 4, 4, dtype=torch.float64))


class Twice(nn.Module):
    """Takes channels more than once, and leaves some out."""

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, [2, 0, 0, 1]]
        return torch.cat((x, x.flip(1)), 1)


def test_channels_taken_twice_stay_right() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 1), Twice(), nn.Conv2d(8, 8, 1, groups=2), Twice(), nn.Conv2d(8, 2, 1))
    for result in simplify_forms(network, torch.zeros(2, 3, 4, 4), dtype=torch.float64, asked=True).values():
        assert_same(result.module, network, torch.randn(2, 3, 4, 4, dtype=torch.float64))


class OverBatch(nn.Module):
    """Moves values between images: no permutation of channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)


def test_a_move_that_mixes_images_or_positions_is_refused_and_kept() -> None:
    for move in (OverBatch(), nn.PixelShuffle(2), nn.Flatten(1, 2)):
        network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ChannelShuffle(2), nn.Conv2d(8, 8, 1), move)
        result = simplify(network, torch.zeros(2, 3, 4, 4), dtype=torch.float64)
        assert_same(result.module, network, torch.randn(5, 3, 4, 4, dtype=torch.float64))
    assert any("keep channels whole" in reason for step in result.steps for reason in step.refused)


@pytest.mark.parametrize(
    "name", ["shufflenet_v2_x0_5", pytest.param("shufflenet_v1_g8_x0_5.megvii", marks=pytest.mark.slow)]
)
def test_no_shuffle_is_left_of_a_shufflenet(name: str) -> None:
    network = randomised(create_model(name, num_classes=10, input_size=64))
    forms = simplify_forms(network, torch.zeros(2, 3, 32, 32), dtype=torch.float64)
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    for form, result in forms.items():
        assert_same(result.module, network, x)
        if form not in (KEPT, "gather"):
            assert not MOVES & set(count_operators(result.module))


def test_a_stride_1_unit_of_shufflenet_v2_copies_at_most_one_concatenation() -> None:
    network = create_model("shufflenet_v2_x0_5", num_classes=10)
    result = simplify(network, torch.zeros(2, 3, 64, 64), form="pieces")
    counts = count_operators(result.module)
    assert counts["cat"] == counts["split_with_sizes"] == 16
    assert counts["conv2d"] == 56


@pytest.mark.parametrize("form", [KEPT, *FORMS])
def test_a_network_without_shuffles_is_left_as_it_is(form: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    result = simplify(network, torch.zeros(2, 3, 4, 4), form=form)
    assert result.form == KEPT
    assert count_operators(result.module) == {"conv2d": 2, "relu": 1}
