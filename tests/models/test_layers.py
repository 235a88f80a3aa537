from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherlight.models.layers import channel_shuffle

groups_and_sizes = given(groups=st.integers(1, 8), per_group=st.integers(1, 9), batch=st.integers(1, 3))
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def numbered_channels(channels: int, batch: int = 1) -> torch.Tensor:
    """Channel k of image n holds the numbers from 100 * k + 10000 * n on, a different one for each pixel."""
    pixels = torch.arange(6.0).view(1, 1, 2, 3)
    return 10000 * torch.arange(batch).view(-1, 1, 1, 1) + 100 * torch.arange(channels).view(1, -1, 1, 1) + pixels


@groups_and_sizes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_channel_shuffle_is_the_papers_permutation(
    layout: torch.memory_format, groups: int, per_group: int, batch: int
) -> None:
    channels = groups * per_group
    x = numbered_channels(channels, batch).contiguous(memory_format=layout)
    source = [(k % groups) * (channels // groups) + k // groups for k in range(channels)]
    assert torch.equal(channel_shuffle(x, groups), x[:, source])


@groups_and_sizes
def test_channel_shuffle_by_the_channels_of_a_group_undoes_it(groups: int, per_group: int, batch: int) -> None:
    x = numbered_channels(groups * per_group, batch)
    assert torch.equal(channel_shuffle(channel_shuffle(x, groups), per_group), x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_channel_shuffle_sends_gradients_back_where_values_came_from(layout: torch.memory_format) -> None:
    x = numbered_channels(12).contiguous(memory_format=layout).requires_grad_()
    gradient = numbered_channels(12) + 7
    channel_shuffle(x, 3).backward(gradient)
    assert x.grad is not None
    assert torch.equal(channel_shuffle(x.grad, 3), gradient)


def test_channel_shuffle_keeps_the_channels_last_layout() -> None:
    x = numbered_channels(12, batch=2).contiguous(memory_format=torch.channels_last)
    assert channel_shuffle(x, 3).is_contiguous(memory_format=torch.channels_last)


def test_channel_shuffle_refuses_channels_that_do_not_divide() -> None:
    with pytest.raises(RuntimeError, match="divisible"):
        channel_shuffle(numbered_channels(10), 3)
