"""Networks wired in every way that was published, and ours with their weights in our order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interop_networks import assert_same_logits, images, randomise
from torch import Tensor

from featherlight.interop.permutations import OrderError
from featherlight.interop.shuffles import (
    Shuffle,
    inverse_shuffle,
    no_shuffle,
    paper_shuffle,
    reorder_shufflenet_v1,
    reorder_shufflenet_v2,
)
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.options import ShuffleNetV1Options, ShuffleNetV2Options
from featherlight.models.registry import create_model
from featherlight.models.shufflenet_v1 import ShuffleNetV1
from featherlight.models.shufflenet_v2 import ShuffleNetV2


def inverts_by_order(groups: int, channels_a_group: int) -> bool:
    """Whether group j gets as many channels from group a as a from j, where both sides have ``groups`` groups."""
    order = paper_shuffle(groups * channels_a_group, groups).view(groups, channels_a_group) // channels_a_group
    table = torch.stack([(order == group).sum(1) for group in range(groups)], dim=1)
    return torch.equal(table, table.t())


@st.composite
def small_networks_v1(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int]]:
    """Groups, stem channels and stage channels of a ShuffleNetV1 that can exist."""
    groups = draw(st.integers(1, 5))
    a_group = sorted(draw(st.lists(st.integers(1, 7), min_size=3, max_size=3, unique=True)))
    stage2, stage3, stage4 = (4 * groups * channels for channels in a_group)
    stem = groups * draw(st.integers(1, 4 * a_group[0] - 1))
    return groups, stem, (stage2, stage3, stage4)


def their_logits_v1(
    model: ShuffleNetV1, x: Tensor, shuffle: str, first: str, after_depthwise: bool, branch_first: bool
) -> Tensor:
    """The parts of ``model``, wired as somebody else does."""
    functions = {"paper": paper_shuffle, "inverse": inverse_shuffle, "none": no_shuffle}
    x = model.maxpool(model.conv1(x))
    for number, unit in enumerate([*model.stage2, *model.stage3, *model.stage4]):
        branch = unit.squeeze(x)
        order = functions[shuffle if number else first](branch.shape[1], unit.groups)
        branch = unit.depthwise(branch)[:, order] if after_depthwise else unit.depthwise(branch[:, order])
        branch = unit.expand(branch)
        if unit.stride == 1:
            x = F.relu(x + branch)
        else:
            pool = F.avg_pool2d(x, 3, 2, 1)
            x = F.relu(torch.cat((branch, pool) if branch_first else (pool, branch), 1))
    return model.fc(x.mean((2, 3)))


@given(
    small_networks_v1(),
    st.sampled_from(["paper", "inverse"]),
    st.sampled_from(["paper", "inverse", "none"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["paper", "inverse"]),
)
@settings(deadline=None, max_examples=60)
def test_any_shufflenet_v1_comes_into_our_order_or_is_refused(
    network: tuple[int, int, tuple[int, int, int]],
    shuffle: str,
    first: str,
    after_depthwise: bool,
    branch_first: bool,
    ours: str,
) -> None:
    groups, stem, stages = network
    functions = {"paper": paper_shuffle, "inverse": inverse_shuffle, "none": no_shuffle}
    options = ShuffleNetV1Options(shuffle=ours, classifier_bias=groups % 2 == 0)
    model = randomise(ShuffleNetV1(groups, stem, stages, num_classes=3, stem="cifar", options=options))
    x = images(8)
    wiring = {"after_depthwise": after_depthwise, "branch_first": branch_first}
    with torch.inference_mode():
        expected = their_logits_v1(model, x, shuffle, first, **wiring)
    choice = {"shuffle": functions[shuffle], "first_shuffle": functions[first]}
    possible = shuffle == ours or all(inverts_by_order(groups, channels // 4 // groups) for channels in stages)
    try:
        model.load_state_dict(reorder_shufflenet_v1(model.state_dict(), model, **choice, **wiring))
    except OrderError:
        assert not possible
        return
    assert possible
    with torch.inference_mode():
        assert_same_logits(model(x), expected)


def test_which_shuffles_are_orders_of_their_inverse() -> None:
    assert all(inverts_by_order(groups, n) for groups in (1, 2, 3) for n in range(1, 50))
    assert all(inverts_by_order(groups, groups * n) for groups in (4, 5, 8) for n in range(1, 8))
    assert not any(inverts_by_order(8, n) for n in (6, 12, 18))


@pytest.mark.parametrize("tag", ["mindspore", "mindcv", "megvii"])
def test_the_inverse_shuffle_is_an_option_only_where_no_order_does(tag: str) -> None:
    names = list_models(f"shufflenet_v1*.{tag}")
    assert len(names) == 8
    for name in names:
        with torch.device("meta"):
            model = create_model(name)
        middles = {unit.squeeze[0].out_channels for unit in (*model.stage2, *model.stage3, *model.stage4)}
        needed = not all(
            inverts_by_order(model.stage2[0].groups, middle // model.stage2[0].groups) for middle in middles
        )
        assert (model_info(name).options.shuffle == "inverse") == needed


def fingerprint(groups: int, channels: tuple[int, ...], shuffle: Shuffle, rounds: int) -> list[Counter[int]]:
    """Of the network of channels and groups that a ShuffleNetV1 is, whatever the order of channels.

    Colour refinement (Weisfeiler and Leman 1968): whatever starts with the same role and has neighbours of the same
    colours gets the same colour, round after round. Networks that differ in order only have equal counts of colours.
    """
    roles: list[Hashable] = []
    neighbours: list[set[int]] = []

    def add(count: int, role: Hashable) -> list[int]:
        roles.extend([role] * count)
        neighbours.extend(set() for _ in range(count))
        return list(range(len(roles) - count, len(roles)))

    def share(members: list[int], parts: list[int]) -> None:
        for place, member in enumerate(members):
            part = parts[place * len(parts) // len(members)]
            neighbours[part].add(member)
            neighbours[member].add(part)

    before = add(channels[0], "stem")
    for stage, (after, repeats) in enumerate(zip(channels[1:], (4, 8, 4), strict=True)):
        whole = add(len(before), ("pool", stage)) + add(after - len(before), ("branch", stage))
        share(before, whole[: len(before)])
        for unit in range(repeats):
            middle = add(after // 4, ("middle", stage, unit))
            squeeze = add(1 if stage == unit == 0 else groups, ("squeeze", stage, unit))
            expand = add(groups, ("expand", stage, unit))
            share(whole if unit else before, squeeze)
            share(middle, squeeze)
            share([middle[place] for place in shuffle(after // 4, groups).tolist()], expand)
            share(whole if unit else whole[len(before) :], expand)
        before = whole
    colours = [hash(role) for role in roles]
    counts = []
    for _ in range(rounds):
        colours = [
            hash((colour, *sorted(colours[n] for n in near))) for colour, near in zip(colours, neighbours, strict=True)
        ]
        counts.append(Counter(colours))
    return counts


@pytest.mark.parametrize(
    ("groups", "channels", "same"),
    [
        (8, (16, 192, 384, 768), False),
        (8, (24, 384, 768, 1536), False),
        pytest.param(8, (24, 576, 1152, 2304), False, marks=pytest.mark.slow),
        pytest.param(8, (48, 768, 1536, 3072), True, marks=pytest.mark.slow),
        (3, (12, 120, 240, 480), True),
    ],
)
def test_where_the_inverse_shuffle_is_an_option_no_order_of_any_channels_would_do(
    groups: int, channels: tuple[int, ...], same: bool
) -> None:
    paper, inverse = (fingerprint(groups, channels, shuffle, 8) for shuffle in (paper_shuffle, inverse_shuffle))
    assert (paper == inverse) == same


def their_logits_v2(model: ShuffleNetV2, x: Tensor) -> Tensor:
    """The parts of ``model``, wired as Megvii does: even channels pass by, nothing is shuffled at the end."""
    x = model.maxpool(model.conv1(x))
    for unit in (*model.stage2, *model.stage3, *model.stage4):
        left, right = (unit.branch1(x), x) if unit.stride == 2 else (x[:, 0::2], x[:, 1::2])
        x = torch.cat((left, unit.branch2(right)), 1)
    return model.fc(model.conv5(x).mean((2, 3)))


@given(
    st.lists(st.integers(2, 20), min_size=4, max_size=4),
    st.sampled_from(["paper", "inverse"]),
    st.sampled_from(["half", "input"]),
)
@settings(deadline=None, max_examples=40)
def test_any_even_odd_shufflenet_v2_comes_into_our_order_or_is_refused(
    halves: list[int], ours: str, shortcut: str
) -> None:
    if shortcut == "input":  # the shortcut keeps its channels, so stages must grow, from 24 on
        halves = [12 + sum(halves[: place + 1]) for place in range(4)]
    channels = tuple(2 * half for half in halves)
    options = ShuffleNetV2Options(shuffle=ours, shortcut=shortcut)
    model = randomise(ShuffleNetV2(channels, num_classes=3, stem="cifar", options=options))
    x = images(8)
    with torch.inference_mode():
        expected = their_logits_v2(model, x)
    try:
        model.load_state_dict(reorder_shufflenet_v2(model.state_dict(), model))
    except OrderError:
        assert (ours, shortcut) == ("paper", "input")  # halves of equal size always work, and the same shuffle does
        return
    with torch.inference_mode():
        assert_same_logits(model(x), expected)


def test_a_plain_shufflenet_v2_whose_shortcut_keeps_its_channels_is_refused() -> None:
    options = ShuffleNetV2Options(shortcut="input")
    model = ShuffleNetV2((116, 232, 464, 1024), num_classes=3, options=options)
    with pytest.raises(OrderError):
        reorder_shufflenet_v2(model.state_dict(), model)


def test_reordering_leaves_the_given_state_alone() -> None:
    model = randomise(ShuffleNetV1(3, 12, (48, 60, 72), num_classes=3, stem="cifar"))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reordered = reorder_shufflenet_v1(model.state_dict(), model, branch_first=True)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert list(reordered) == list(state)
    assert any(not torch.equal(state[name], tensor) for name, tensor in reordered.items())


def test_every_parameter_is_kept_and_none_is_made_up() -> None:
    model = randomise(ShuffleNetV1(2, 10, (24, 48, 64), num_classes=3, stem="cifar"))
    state = model.state_dict()
    reordered = reorder_shufflenet_v1(
        state, model, shuffle=inverse_shuffle, first_shuffle=no_shuffle, after_depthwise=True, branch_first=True
    )
    for name, tensor in reordered.items():
        assert torch.equal(tensor.flatten().sort().values, state[name].flatten().sort().values), name
