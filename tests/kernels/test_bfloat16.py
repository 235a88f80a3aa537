"""The kernels in bfloat16: they round what they keep and what they multiply, and nothing else.

The reference computes in float64 and rounds in the same places. So what is left are the few numbers that float32 sums
move over the middle between two neighbours: far less than bfloat16's own last bit, 2**-8 of a number. Where such a
number lies at an activation's bend, one gradient more or less passes there, which is more than a last bit. With one
link that comes with some random numbers and not with others, so one of a few seeds must do without. With several, up to
a share of 2**-8 of the gradients may pass or not, and their root is the bound.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from test_chain import Layer, build, end, parameters_of
from torch import Tensor, nn
from torch.nn import functional as F

from featherlight.kernels.chain import run_chain
from featherlight.kernels.library import has_bfloat16, load_kernels
from featherlight.kernels.links import PLAIN, Ending, Link

LIBRARY = load_kernels(bfloat16=True) if has_bfloat16() else None  # not compiled anew in a test's own cache
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no instruction for it here")
LAST_BIT = 2**-8
SEEDS = 5
ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish}


def rounded(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


class RoundedValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return rounded(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class RoundedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return rounded(gradient)


class RoundedProduct(torch.autograd.Function):
    """A product (P, G, I) x (G, O, I) -> (P, G, O) whose factors are rounded, forwards and backwards."""

    @staticmethod
    def forward(ctx, x, w):
        factors = rounded(x), rounded(w)
        ctx.save_for_backward(*factors)
        return torch.einsum("pgi,goi->pgo", *factors)

    @staticmethod
    def backward(ctx, gradient):
        x, w = ctx.saved_tensors
        g = rounded(gradient)
        return torch.einsum("pgo,goi->pgi", g, w), torch.einsum("pgo,pgi->goi", g, x)


def convolve(conv: nn.Module, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, O, H', W')
    if not isinstance(conv, nn.Conv2d) or conv.groups == conv.in_channels > 1:
        return conv(x)  # depthwise: a sum of few products, in float32
    windows = F.unfold(x, conv.kernel_size, padding=conv.padding, stride=conv.stride)  # (N, C * k * k, H' * W')
    count, numbers, pixels = windows.shape
    rows = windows.transpose(1, 2).reshape(count * pixels, conv.groups, numbers // conv.groups)
    y = RoundedProduct.apply(rows, conv.weight.view(conv.groups, -1, rows.shape[2]))
    height = (x.shape[2] + 2 * conv.padding[0] - conv.kernel_size[0]) // conv.stride[0] + 1
    return y.reshape(count, pixels, -1).transpose(1, 2).reshape(count, -1, height, pixels // height)


def compute(layers: list[Layer], links: Sequence[Link], x: Tensor) -> Tensor:
    for (conv, norm, activation), link in zip(layers, links, strict=True):
        y = RoundedValue.apply(convolve(conv, F.channel_shuffle(x, link.shuffle)))
        x = ACTIVATIONS[activation](RoundedGradient.apply(norm(y)))
    return x


def assert_near(found: Tensor | None, expected: Tensor | None, scale: float = 0.0, bound: float = LAST_BIT) -> None:
    assert found is not None
    assert expected is not None
    assert found.shape == expected.shape
    error = float((found.double() - expected).norm())
    assert error <= bound * max(float(expected.norm()), scale * expected.numel() ** 0.5)


def check(
    links: Sequence[Link],
    channels: Sequence[int],
    sizes: Sequence[int],
    ending: Ending = PLAIN,
    *,
    with_other: bool = False,
) -> None:
    for seed in range(SEEDS):
        try:
            compare(links, channels, sizes, ending, seed, with_other=with_other)
        except AssertionError:
            if seed + 1 == SEEDS:
                raise
        else:
            return


def compare(
    links: Sequence[Link],
    channels: Sequence[int],
    sizes: Sequence[int],
    ending: Ending,
    seed: int,
    *,
    with_other: bool,
) -> None:
    torch.manual_seed(seed)
    assert LIBRARY is not None
    layers = build(links, channels, sizes)
    exact = [(copy.deepcopy(conv).double(), copy.deepcopy(norm).double(), name) for conv, norm, name in layers]
    splits = ending.kind == "split"
    x = torch.randn(3, channels[0] * (2 if splits else 1), 6, 5).bfloat16()
    mine = x.clone(memory_format=torch.channels_last).requires_grad_()
    theirs = x.double().requires_grad_()
    truth = compute(exact, links, theirs.chunk(2, 1)[1] if splits else theirs)
    other = torch.randn(truth.shape).bfloat16() if with_other else None
    of_mine = None if other is None else other.clone().requires_grad_()
    of_theirs = None if other is None else other.double().requires_grad_()
    result = run_chain(LIBRARY, links, mine, parameters_of(layers), ending, of_mine)
    expected = end(truth, theirs, of_theirs, ending)
    gradient = torch.randn(expected.shape).bfloat16()
    result.backward(gradient.to(result.dtype))
    expected.backward(gradient.double())
    assert result.dtype == (torch.float32 if ending.kind == "mean" else torch.bfloat16)
    assert_near(result.detach(), expected.detach())
    bound = LAST_BIT if len(links) == 1 else LAST_BIT**0.5
    assert_near(mine.grad, theirs.grad, 1.0, bound)
    if of_mine is not None and of_theirs is not None:
        assert_near(of_mine.grad, of_theirs.grad, bound=bound)
    for (conv, norm, _), (exact_conv, exact_norm, _) in zip(layers, exact, strict=True):
        # Without an activation the next norm takes a shift away again: the gradient of beta is zero but for noise.
        scale = float(gradient.float().norm()) / gradient.shape[1] ** 0.5
        for module, true_module in ((conv, exact_conv), (norm, exact_norm)):
            for one, two in zip(module.parameters(), true_module.parameters(), strict=True):
                assert_near(one.grad, two.grad, scale, bound)
        for name in ("running_mean", "running_var"):
            assert_near(getattr(norm, name), getattr(exact_norm, name), scale=0.1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("link", "channels", "size"),
    [
        (Link("norm", ""), (19, 19), 1),
        (Link("pointwise", ""), (16, 48), 1),
        (Link("pointwise", ""), (37, 5), 1),
        (Link("pointwise", ""), (58, 58), 1),
        (Link("pointwise", "", groups=3), (60, 240), 1),
        (Link("pointwise", "", groups=3, shuffle=3), (27, 240), 1),
        (Link("depthwise", "", stride=1, padding=1), (24, 24), 3),
        (Link("depthwise", "", stride=2, padding=2), (17, 17), 5),
        (Link("stem", "", stride=2, padding=1), (3, 24), 3),
    ],
)
def test_each_link_rounds_what_it_keeps_and_multiplies_and_nothing_else(link, channels, size, activation):
    check([Link(**{**link.__dict__, "activation": activation})], channels, [size])


@pytest.mark.parametrize(
    ("links", "channels", "sizes"),
    [
        ([Link("pointwise", "relu", groups=3), Link("pointwise", "relu", groups=3, shuffle=3)], (27, 24, 21), (1, 1)),
        ([Link("pointwise", "relu6"), Link("pointwise", "none", groups=2)], (5, 16, 80), (1, 1)),
        ([Link("stem", "relu", stride=2, padding=1), Link("pointwise", "none")], (3, 24, 10), (3, 1)),
        ([Link("depthwise", "none", padding=1), Link("pointwise", "hardswish")], (20, 20, 30), (3, 1)),
    ],
)
def test_chains_round_what_they_keep_and_multiply_and_nothing_else(links, channels, sizes):
    check(links, channels, sizes)


@pytest.mark.parametrize("channels", [16, 29])
@pytest.mark.parametrize(
    ("ending", "with_other"),
    [(Ending("split"), False), (Ending("join"), True), (Ending("add", "relu"), False), (Ending("add"), True)],
    ids=str,
)
def test_what_becomes_of_a_result_is_rounded_once(ending, with_other, channels):
    last = "none" if ending.kind == "add" else "relu"
    links = [Link("pointwise", "relu6"), Link("depthwise", "none", padding=1), Link("pointwise", last)]
    check(links, (channels, 21, 21, channels), (1, 3, 1), ending, with_other=with_other)


def test_an_averaged_input_is_rounded_once():
    links = [Link("pointwise", "relu6"), Link("depthwise", "none", stride=2, padding=1), Link("pointwise", "none")]
    check(links, (24, 20, 20, 30), (1, 3, 1), Ending("pool", "relu"))


def test_a_mean_over_pixels_is_left_in_float32():
    check([Link("pointwise", "relu")], (16, 40), (1,), Ending("mean"))


def test_images_in_float32_are_rounded_and_get_their_gradient_in_float32():
    assert LIBRARY is not None
    links = [Link("pointwise", "none")]
    layers = build(links, (6, 10), (1,))
    x = torch.randn(3, 6, 5, 4).requires_grad_()
    result = run_chain(LIBRARY, links, x, parameters_of(layers))
    same = run_chain(LIBRARY, links, x.detach().bfloat16(), parameters_of(layers))
    assert torch.equal(result, same)
    result.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
