from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.models.layers import (
    SameConv2d,
    SameMaxPool2d,
    average_pool,
    channel_shuffle,
    conv_norm,
    finish,
    shuffle_groups,
    stem_pool,
)
from featherlight.models.options import ConvStyle

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


def pad_same(x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """``padding="same"`` for a 3x3 window with stride 2, from TensorFlow's definition: the odd one goes to the end."""
    sides: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


def windows(x: torch.Tensor) -> torch.Tensor:
    return x.unfold(2, 3, 2).unfold(3, 3, 2)


any_size = given(st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None)
@any_size
def test_same_padding_is_tensorflows_for_even_and_odd_sizes(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64) - 5
    ones = torch.ones_like(x)
    average = windows(pad_same(x)).sum((4, 5)) / windows(pad_same(ones)).sum((4, 5))
    torch.testing.assert_close(average_pool(x, "same"), average)
    torch.testing.assert_close(SameMaxPool2d()(x), windows(pad_same(x, -torch.inf)).amax((4, 5)))
    convolution = SameConv2d(3, 4, 3, stride=2).double()
    expected = F.conv2d(pad_same(x), convolution.weight, convolution.bias, stride=2)
    torch.testing.assert_close(convolution(x), expected)


@settings(deadline=None)
@any_size
def test_symmetric_average_counts_the_zeros_around(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(average_pool(x, "symmetric"), windows(F.pad(x, (1, 1, 1, 1))).mean((4, 5)))


@settings(deadline=None)
@given(st.integers(3, 12), st.integers(3, 12))
def test_all_paddings_halve_the_size_rounding_up_or_as_pytorchcv(height: int, width: int) -> None:
    x = torch.randn(1, 2, height, width)
    for padding in ("symmetric", "same"):
        assert stem_pool("imagenet", padding)(x).shape[2:] == ((height + 1) // 2, (width + 1) // 2)
    assert stem_pool("imagenet", "ceil")(x).shape[2:] == (height // 2, width // 2)
    assert stem_pool("cifar", "same")(x) is x


def test_same_padding_changes_only_3x3_convolutions_with_stride_2() -> None:
    style = ConvStyle(padding="same")
    kinds = {
        (kernel, stride): type(conv_norm(2, 2, kernel, stride, style=style)[0])
        for kernel in (1, 3)
        for stride in (1, 2)
    }
    assert [at for at, kind in kinds.items() if kind is SameConv2d] == [(3, 2)]


@given(st.integers(1, 8), st.integers(1, 9))
def test_inverse_shuffle_undoes_the_papers(groups: int, per_group: int) -> None:
    x = numbered_channels(groups * per_group)
    shuffled = channel_shuffle(x, shuffle_groups("paper", groups * per_group, groups))
    assert torch.equal(channel_shuffle(shuffled, shuffle_groups("inverse", groups * per_group, groups)), x)


def test_without_norm_a_convolution_has_a_bias_and_stands_alone() -> None:
    (convolution,) = conv_norm(3, 4, 3, norm=False)
    assert convolution.bias is not None
    convolution, norm, _ = conv_norm(3, 4, 3, style=ConvStyle(bias=True, norm_eps=0.5))
    assert convolution.bias is not None
    assert norm.eps == 0.5
    assert conv_norm(3, 4, 3)[0].bias is None


def test_output_is_what_was_asked_for() -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    assert finish(logits, "logits") is logits
    torch.testing.assert_close(finish(logits, "softmax"), logits.exp() / logits.exp().sum())
    torch.testing.assert_close(finish(logits, "log_softmax"), logits - logits.exp().sum().log())
