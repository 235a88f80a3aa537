from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from featherlight.interop.permutations import OrderError, inverse, match, reorder_conv, reorder_norm, shuffle_order
from featherlight.models.layers import channel_shuffle

groups_and_channels = st.tuples(st.integers(1, 8), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] * pair[1]))
seeds = st.integers(0, 2**31)


def random_order(length: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(length, generator=generator)


def order_of_groups(groups: int, per_group: int, moved: Tensor, generator: torch.Generator) -> Tensor:
    """Groups go where ``moved`` says, channels anywhere within them."""
    return torch.cat([moved[group] * per_group + random_order(per_group, generator) for group in range(groups)])


@settings(deadline=None)
@given(groups_and_channels)
def test_shuffle_order_says_where_the_layers_outputs_come_from(pair: tuple[int, int]) -> None:
    groups, channels = pair
    x = torch.arange(channels).view(1, -1, 1, 1).float()
    assert torch.equal(channel_shuffle(x, groups).flatten().long(), shuffle_order(channels, groups))


@settings(deadline=None)
@given(groups_and_channels)
def test_shuffle_with_the_other_factor_is_the_inverse(pair: tuple[int, int]) -> None:
    groups, channels = pair
    assert torch.equal(inverse(shuffle_order(channels, groups)), shuffle_order(channels, channels // groups))


@settings(deadline=None)
@given(groups_and_channels)
def test_shuffle_of_reversed_channels_is_the_reversed_shuffle(pair: tuple[int, int]) -> None:
    groups, channels = pair
    backwards = torch.arange(channels).flip(0)
    order = shuffle_order(channels, groups)
    assert torch.equal(backwards[order], order[backwards])


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), seeds)
def test_match_brings_equal_labels_together(labels: list[int], seed: int) -> None:
    ours = torch.tensor(labels)
    theirs = ours[random_order(len(labels), torch.Generator().manual_seed(seed))]
    order = match(ours, theirs)
    assert torch.equal(theirs[order], ours)
    assert sorted(order.tolist()) == list(range(len(labels)))


def test_match_refuses_labels_that_occur_differently_often() -> None:
    with pytest.raises(OrderError):
        match(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), seeds)
def test_reordered_convolution_computes_the_same_channels(groups: int, reads: int, makes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    moved = random_order(groups, generator)
    into, out = order_of_groups(groups, reads, moved, generator), order_of_groups(groups, makes, moved, generator)
    weight = torch.randn(groups * makes, reads, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(groups * makes, generator=generator, dtype=torch.float64)
    x = torch.randn(2, groups * reads, 5, 4, generator=generator, dtype=torch.float64)
    state = {"c.weight": weight, "c.bias": bias}
    reorder_conv(state, "c", out, into, groups)
    ours = F.conv2d(x[:, into], state["c.weight"], state["c.bias"], padding=1, groups=groups)
    theirs = F.conv2d(x, weight, bias, padding=1, groups=groups)[:, out]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("out", "into"),
    [
        ([0, 1, 2, 3], [2, 3, 0, 1]),
        ([2, 3, 0, 1], [0, 1, 2, 3]),
        ([0, 1, 2, 3], [0, 2, 1, 3]),
        ([0, 2, 1, 3], [0, 1, 2, 3]),
    ],
)
def test_orders_that_would_mix_groups_are_refused(out: list[int], into: list[int]) -> None:
    with pytest.raises(OrderError, match="c: channels would have to change groups"):
        reorder_conv({"c.weight": torch.zeros(4, 2, 1, 1)}, "c", torch.tensor(out), torch.tensor(into), groups=2)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), seeds)
def test_reordered_linear_layer_computes_the_same(inputs: int, outputs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(3, inputs, generator=generator, dtype=torch.float64)
    out, into = random_order(outputs, generator), random_order(inputs, generator)
    state = {"fc.weight": weight}
    reorder_conv(state, "fc", out, into)
    torch.testing.assert_close(F.linear(x[:, into], state["fc.weight"]), F.linear(x, weight)[:, out])


def test_norm_moves_with_all_it_knows_about_a_channel() -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    state = {f"n.{name}": torch.arange(3) + 10 * k for k, name in enumerate(names)}
    state["n.num_batches_tracked"] = torch.tensor(5)
    reorder_norm(state, "n", torch.tensor([2, 0, 1]))
    assert [state[f"n.{name}"].tolist() for name in names] == [[2, 0, 1], [12, 10, 11], [22, 20, 21], [32, 30, 31]]
    assert state["n.num_batches_tracked"] == 5
