"""The kernels' values and gradients against PyTorch's in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from featherlight.kernels.chain import run_chain
from featherlight.kernels.library import load_kernels
from featherlight.kernels.links import PLAIN, Ending, Link

LIBRARY = load_kernels()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C compiler here")

Layer = tuple[nn.Module, nn.BatchNorm2d, str]
# float32 keeps 24 bits; sums over thousands of numbers and a few layers lose about ten of them
TOLERANCE = 2e-4


def build(links: Sequence[Link], channels: Sequence[int], sizes: Sequence[int]) -> list[Layer]:
    layers: list[Layer] = []
    for link, ins, outs, size in zip(links, channels[:-1], channels[1:], sizes, strict=True):
        conv: nn.Module = nn.Identity()
        if link.kind == "pointwise":
            conv = nn.Conv2d(ins, outs, 1, groups=link.groups, bias=False)
        elif link.kind == "depthwise":
            conv = nn.Conv2d(ins, outs, size, link.stride, link.padding, groups=ins, bias=False)
        elif link.kind == "stem":
            conv = nn.Conv2d(ins, outs, size, link.stride, link.padding, bias=False)
        norm = nn.BatchNorm2d(outs)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        layers.append((conv, norm, link.activation))
    return layers


def compute(layers: list[Layer], links: Sequence[Link], x: Tensor) -> Tensor:
    for (conv, norm, activation), link in zip(layers, links, strict=True):
        if link.shuffle > 1:
            x = F.channel_shuffle(x, link.shuffle)
        x = norm(conv(x))
        x = {"none": lambda v: v, "relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish}[activation](x)
    return x


def parameters_of(layers: list[Layer]) -> list[Tensor]:
    found: list[Tensor] = []
    for conv, norm, _ in layers:
        weight = conv.weight if isinstance(conv, nn.Conv2d) else torch.empty(0)
        found += [weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    return found


def assert_near(found: Tensor, expected: Tensor, scale: float = 0.0) -> None:
    assert found.shape == expected.shape
    largest = max(float(expected.abs().max()), scale)
    assert float((found - expected).abs().max()) <= TOLERANCE * largest


def end(result: Tensor, x: Tensor, other: Tensor | None, ending: Ending) -> Tensor:
    if ending.kind == "plain":
        return result
    if ending.kind == "mean":
        return result.mean((2, 3))
    if ending.kind in ("add", "pool"):
        pooled = ending.kind == "pool"
        total = torch.cat((F.avg_pool2d(x, 3, 2, 1), result), 1) if pooled else result + (x if other is None else other)
        return {"none": lambda v: v, "relu": F.relu, "relu6": F.relu6}[ending.activation](total)
    left = x.chunk(2, 1)[0] if other is None else other
    return F.channel_shuffle(torch.cat((left, result), 1), 2)


def check(
    links: Sequence[Link],
    channels: Sequence[int],
    sizes: Sequence[int],
    shape: tuple[int, int, int],
    seed: int,
    ending: Ending = PLAIN,
    *,
    with_other: bool = False,
) -> None:
    torch.manual_seed(seed)
    layers = build(links, channels, sizes)
    exact = [(copy.deepcopy(conv).double(), copy.deepcopy(norm).double(), name) for conv, norm, name in layers]
    splits = ending.kind == "split"
    x = torch.randn(shape[0], channels[0] * (2 if splits else 1), *shape[1:]).contiguous(
        memory_format=torch.channels_last
    )
    mine, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    truth = compute(exact, links, theirs.chunk(2, 1)[1] if splits else theirs)
    other = torch.randn(truth.shape).contiguous(memory_format=torch.channels_last) if with_other else None
    of_mine = None if other is None else other.clone().requires_grad_()
    of_theirs = None if other is None else other.double().requires_grad_()
    assert LIBRARY is not None
    result = run_chain(LIBRARY, links, mine, parameters_of(layers), ending, of_mine)
    expected = end(truth, theirs, of_theirs, ending)
    gradient = torch.randn_like(expected)
    result.backward(gradient.float())
    expected.backward(gradient)
    assert_near(result.detach(), expected.detach())
    assert mine.grad is not None
    assert theirs.grad is not None
    assert_near(mine.grad, theirs.grad, scale=float(gradient.abs().max()))
    if of_mine is not None and of_theirs is not None:
        assert of_mine.grad is not None
        assert of_theirs.grad is not None
        assert_near(of_mine.grad, of_theirs.grad)
    for (conv, norm, _), (exact_conv, exact_norm, _) in zip(layers, exact, strict=True):
        # Without an activation the next norm takes a shift away again: the gradient of beta is zero but for noise.
        scale = float(gradient.abs().sum()) / gradient.shape[1]
        for module, other in ((conv, exact_conv), (norm, exact_norm)):
            for one, two in zip(module.parameters(), other.parameters(), strict=True):
                assert one.grad is not None
                assert two.grad is not None
                assert_near(one.grad, two.grad, scale)
        for name in ("running_mean", "running_var"):
            assert_near(getattr(norm, name), getattr(exact_norm, name), scale=0.1)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "hardswish"])
@pytest.mark.parametrize(
    ("link", "channels", "size"),
    [
        (Link("norm", ""), (19, 19), 1),
        (Link("pointwise", ""), (16, 48), 1),
        (Link("pointwise", ""), (1, 1), 1),
        (Link("pointwise", ""), (37, 5), 1),
        (Link("pointwise", "", groups=3), (60, 240), 1),
        (Link("pointwise", "", groups=8), (8, 8), 1),
        (Link("depthwise", "", stride=1, padding=1), (24, 24), 3),
        (Link("depthwise", "", stride=2, padding=1), (58, 58), 3),
        (Link("depthwise", "", stride=2, padding=2), (17, 17), 5),
        (Link("depthwise", "", stride=1, padding=3), (3, 3), 7),
        (Link("depthwise", "", stride=1, padding=0), (33, 33), 3),
        (Link("depthwise", "", stride=3, padding=0), (16, 16), 1),
        (Link("stem", "", stride=1, padding=1), (3, 24), 3),
        (Link("stem", "", stride=2, padding=1), (3, 32), 3),
        (Link("stem", "", stride=2, padding=3), (1, 5), 7),
        (Link("stem", "", stride=2, padding=0), (4, 8), 2),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else getattr(value, "kind", None),
)
def test_each_link_gives_pytorchs_values_gradients_and_statistics(link, channels, size, activation):
    named = Link(**{**link.__dict__, "activation": activation})
    check([named], channels, [size], (6, 9, 7), seed=1)


def test_a_unit_of_shufflenet_v1_with_the_shuffle_folded_into_the_next_convolution():
    links = [
        Link("pointwise", "relu", groups=3),
        Link("depthwise", "none", stride=2, padding=1),
        Link("pointwise", "none", groups=3, shuffle=3),
    ]
    check(links, (240, 60, 60, 240), (1, 3, 1), (5, 8, 8), seed=2)


def test_a_shuffle_in_front_of_a_depthwise_convolution_is_one_behind_it():
    torch.manual_seed(0)
    links = [
        Link("pointwise", "relu"),
        Link("depthwise", "none", padding=1, shuffled=3),
        Link("pointwise", "relu", shuffle=3),
    ]
    layers = build(links, (12, 24, 24, 8), (1, 3, 1))
    exact = copy.deepcopy(layers)
    x = torch.randn(4, 12, 6, 6).contiguous(memory_format=torch.channels_last)
    assert LIBRARY is not None
    result = run_chain(LIBRARY, links, x, parameters_of(layers))
    (squeeze, norm1, _), (depthwise, norm2, _), (expand, norm3, _) = exact
    middle = F.channel_shuffle(F.relu(norm1(squeeze(x))), 3)
    expected = F.relu(norm3(expand(norm2(depthwise(middle)))))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
    result.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(layers, exact, strict=True):
        for one, two in zip(
            [*mine[0].parameters(), *mine[1].parameters()],
            [*theirs[0].parameters(), *theirs[1].parameters()],
            strict=True,
        ):
            assert_near(one.grad, two.grad, scale=10.0)
        torch.testing.assert_close(mine[1].running_mean, theirs[1].running_mean, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(mine[1].running_var, theirs[1].running_var, atol=1e-6, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_chains_of_odd_shapes(data):
    links, channels, sizes = [], [data.draw(st.integers(1, 40))], []
    for number in range(data.draw(st.integers(1, 3))):
        activation = data.draw(st.sampled_from(["none", "relu", "relu6", "hardswish"]))
        first = ["norm", "stem"] if number == 0 else []
        kind = data.draw(st.sampled_from([*first, "pointwise", "depthwise"]))
        ins, size = channels[-1], 1
        outs = ins
        if kind == "pointwise":
            groups = data.draw(st.sampled_from([g for g in (1, 2, 3, 4, 8) if ins % g == 0]))
            outs = groups * data.draw(st.integers(1, 20))
            links.append(Link("pointwise", activation, groups=groups))
        elif kind == "stem":
            size, outs = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 40))
            stride, padding = data.draw(st.integers(1, 3)), data.draw(st.integers(0, size - 1))
            links.append(Link("stem", activation, stride=stride, padding=max(padding, (size - 1) // 2)))
        elif kind == "depthwise":
            size = data.draw(st.sampled_from([1, 3, 5]))
            stride, padding = data.draw(st.integers(1, 3)), data.draw(st.integers(0, size - 1))
            links.append(Link("depthwise", activation, stride=stride, padding=max(padding, (size - 1) // 2)))
        else:
            links.append(Link("norm", activation))
        channels.append(outs)
        sizes.append(size)
    shape = (data.draw(st.integers(4, 6)), data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9)))
    check(links, channels, sizes, shape, seed=data.draw(st.integers(0, 2**31)))


ENDINGS = [
    (Ending("split"), False),
    (Ending("join"), True),
    *(
        (Ending("add", activation), with_other)
        for activation in ("none", "relu", "relu6")
        for with_other in (False, True)
    ),
]


@pytest.mark.parametrize("channels", [1, 16, 29])
@pytest.mark.parametrize(("ending", "with_other"), ENDINGS, ids=str)
def test_what_becomes_of_a_result_has_pytorchs_values_and_gradients(ending, with_other, channels):
    last = "none" if ending.kind == "add" else "relu"
    links = [
        Link("pointwise", "relu6"),
        Link("depthwise", "none", padding=1),
        Link("pointwise", last),
    ]
    check(links, (channels, 21, 21, channels), (1, 3, 1), (5, 6, 7), 3, ending, with_other=with_other)


@pytest.mark.parametrize("activation", ["none", "relu", "hardswish"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (9, 1, 1)])
def test_a_result_of_which_the_mean_over_pixels_is_left(shape, activation):
    check([Link("pointwise", activation)], (10, 37), (1,), shape, 7, Ending("mean"))


@pytest.mark.parametrize("shape", [(5, 6, 7), (2, 9, 8), (7, 1, 2)])
@pytest.mark.parametrize(("activation", "channels"), [("none", 3), ("relu", 40), ("relu6", 16)])
def test_a_result_that_is_concatenated_with_the_averaged_input(activation, channels, shape):
    links = [
        Link("pointwise", "relu"),
        Link("depthwise", "none", stride=2, padding=1),
        Link("pointwise", "none", groups=3),
    ]
    check(links, (channels, 12, 12, 21), (1, 3, 1), shape, 6, Ending("pool", activation))


def test_a_single_link_with_a_residual_connection():
    check([Link("pointwise", "none", groups=2)], (16, 16), (1,), (4, 5, 3), 4, Ending("add", "relu"))


def test_a_strided_result_is_joined_with_another():
    links = [Link("depthwise", "none", stride=2, padding=1), Link("pointwise", "relu")]
    check(links, (10, 10, 24), (3, 1), (4, 7, 6), 5, Ending("join"), with_other=True)


@pytest.mark.parametrize("kind", ["join", "add"])
def test_another_tensor_of_another_shape_is_refused(kind):
    links = [Link("pointwise", "none")]
    x, other = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 4, 5)
    assert LIBRARY is not None
    with pytest.raises(ValueError, match="does not go with"):
        run_chain(LIBRARY, links, x, parameters_of(build(links, (6, 6), (1,))), Ending(kind), other)


def test_an_input_that_is_not_channels_last_is_computed_too():
    links = [Link("pointwise", "relu")]
    layers = build(links, (6, 10), (1,))
    x = torch.randn(3, 8, 5, 5)[:, 1:7]
    assert LIBRARY is not None
    result = run_chain(LIBRARY, links, x, parameters_of(layers))
    torch.testing.assert_close(result, compute(layers, links, x), atol=1e-5, rtol=1e-4)


def test_statistics_of_values_far_from_zero_are_exact():
    layers = build([Link("norm", "none")], (8, 8), (1,))
    x = (1000 + torch.randn(16, 8, 12, 12)).contiguous(memory_format=torch.channels_last)
    assert LIBRARY is not None
    run_chain(LIBRARY, [Link("norm", "none", momentum=1.0)], x, parameters_of(layers))
    variance = x.double().var(dim=(0, 2, 3))
    torch.testing.assert_close(layers[0][1].running_var.double(), variance, rtol=1e-4, atol=0)
