"""ShuffleNets whose channels stand in another order: into ours, exactly.

Most differences between published ShuffleNets are orders of channels: the direction of the shuffle, its place, which
half is concatenated first, which channels are split off. The functions here follow the channels of both networks
through all layers and reorder the weights so that corresponding channels meet.

What can be reordered, for ShuffleNetV1:

- A shuffle behind the depthwise convolution is one before it, with the depthwise channels reordered.
- With all channels in reverse, groups stay groups and every shuffle stays itself, and [branch, pool] becomes
  [pool, branch]. So the sequence of the concatenation is always an order only.
- Between two grouped convolutions a shuffle decides how many channels group j of the second gets from group a of the
  first. The paper's shuffle gives j as many from a as its inverse gives a from j. So the two are orders of each other
  where that table is symmetric: whenever the groups divide the channels of a group, and always for 2 or 3 groups; not
  for 8 groups of 6, 12 or 18 channels. There the networks have the option ``shuffle="inverse"``.

For ShuffleNetV2, what tells channels apart is how many units they pass by before one works on them. Two networks are
orders of each other if every branch makes equally many channels of each such kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from featherlight.interop.permutations import State, inverse, match, reorder_conv, reorder_norm, shuffle_order

Shuffle = Callable[[int, int], Tensor]  # channels, groups -> the input that each output is


def paper_shuffle(channels: int, groups: int) -> Tensor:
    """Reshape to (groups, channels / groups), transpose, flatten."""
    return shuffle_order(channels, groups)


def inverse_shuffle(channels: int, groups: int) -> Tensor:
    """Reshape to (channels / groups, groups), transpose, flatten."""
    return shuffle_order(channels, channels // groups)


def no_shuffle(channels: int, groups: int) -> Tensor:  # noqa: ARG001
    """Channels stay where they are."""
    return torch.arange(channels)


def reorder_shufflenet_v1(
    state: State,
    model: nn.Module,
    *,
    shuffle: Shuffle = paper_shuffle,
    first_shuffle: Shuffle | None = None,
    after_depthwise: bool = False,
    branch_first: bool = False,
) -> State:
    """Weights of a ShuffleNetV1 in our order.

    Args:
        state: by our names, in their order.
        model: the network they are for.
        shuffle: theirs.
        first_shuffle: theirs in the very first unit, if it is another.
        after_depthwise: their shuffle comes behind the depthwise convolution and its norm.
        branch_first: their stride-2 units concatenate [branch, pooled input].

    Raises:
        OrderError: their network is no reordering of ``model``.
    """
    state, whole = dict(state), _reverse if branch_first else torch.arange
    channels, image = state["conv1.0.weight"].shape[:2]
    reorder_conv(state, "conv1.0", whole(channels), torch.arange(image))
    reorder_norm(state, "conv1.1", whole(channels))
    for number, (name, unit) in enumerate(_units(model)):
        theirs = first_shuffle if first_shuffle and number == 0 else shuffle
        _reorder_unit_v1(state, name, unit, whole, theirs, after_depthwise)
    classes, channels = state["fc.weight"].shape
    reorder_conv(state, "fc", torch.arange(classes), whole(channels))
    return state


def _reorder_unit_v1(
    state: State, name: str, unit: Any, whole: Callable[[int], Tensor], shuffle: Shuffle, after_depthwise: bool
) -> None:
    squeeze, expand = unit.squeeze[0], unit.expand[0]
    middle, groups = squeeze.out_channels, expand.groups
    entry, leave = whole(squeeze.in_channels), whole(expand.out_channels)
    ours, theirs = shuffle_order(middle, unit.shuffle_groups), shuffle(middle, groups)
    # Which channel in the middle is which does not matter, as long as the same group makes and the same group reads it.
    maker, reader = _groups(middle, squeeze.groups), _groups(middle, groups)
    our_label = _moved(entry, squeeze.groups)[maker] * groups + _moved(leave, groups)[reader[inverse(ours)]]
    made = match(our_label, maker * groups + reader[inverse(theirs)])
    read = inverse(theirs)[made[ours]]
    depthwise = made[ours] if after_depthwise else read
    for layer, out, into, count in (
        ("squeeze", made, entry, squeeze.groups),
        ("depthwise", depthwise, depthwise, middle),
        ("expand", leave, read, groups),
    ):
        reorder_conv(state, f"{name}.{layer}.0", out, into, count)
        reorder_norm(state, f"{name}.{layer}.1", out)


def reorder_shufflenet_v2(state: State, model: nn.Module) -> State:
    """Weights of a ShuffleNetV2 that sends even channels past a stride-1 unit and odd ones through it, in our order.

    So Megvii's: no shuffle at the end of units, and none at all before stride-2 units and the last convolution.

    Raises:
        OrderError: their network is no reordering of ``model``.
    """
    state = dict(state)
    order = torch.arange(len(state["conv1.0.weight"]))
    for stage in ("stage2", "stage3", "stage4"):
        order = _reorder_stage_v2(state, stage, list(getattr(model, stage)), order)
    reorder_conv(state, "conv5.0", torch.arange(len(state["conv5.0.weight"])), order)
    return state


def _reorder_stage_v2(state: State, stage: str, units: list[Any], order: Tensor) -> Tensor:
    """Reorders a stage whose input has ``order``; returns the order of its output."""
    channels = units[-1].branch2[-3].out_channels * 2
    ours, theirs = shuffle_order(channels, units[0].shuffle_groups), inverse_shuffle(channels, 2)
    left = order
    for number, unit in enumerate(units):
        name, to_come = f"{stage}.{number}", len(units) - 1 - number
        our_label, their_label = _units_passed(ours, to_come), _units_passed(theirs, to_come)
        if unit.stride == 2:
            split = unit.branch1[-3].out_channels
            left = match(our_label[:split], their_label[:split])
            _reorder_branch1_v2(state, name, order, left)
            right = order
        else:
            split = channels // 2
            left, right = order[:split], order[split:] - split
        new = match(our_label[split:], their_label[split:])
        _reorder_branch2_v2(state, name, right, new)
        made = torch.cat((left, new + split))
        order = inverse(theirs)[made[ours]]  # as the next stride-1 unit sees it
    return made[ours]


def _units_passed(shuffle: Tensor, units: int) -> Tensor:
    """For each concatenated channel, how many of the next ``units`` stride-1 units it passes by on the left."""
    passed = torch.zeros_like(shuffle)
    half = len(shuffle) // 2
    for _ in range(units):
        seen = torch.where(torch.arange(len(shuffle)) < half, passed + 1, 0)  # by place in front of the unit
        passed = seen[inverse(shuffle)]
    return passed


def _reorder_branch1_v2(state: State, name: str, into: Tensor, out: Tensor) -> None:
    reorder_conv(state, f"{name}.branch1.0", into, into, len(into))
    reorder_norm(state, f"{name}.branch1.1", into)
    reorder_conv(state, f"{name}.branch1.2", out, into)
    reorder_norm(state, f"{name}.branch1.3", out)


def _reorder_branch2_v2(state: State, name: str, into: Tensor, out: Tensor) -> None:
    middle = torch.arange(len(state[f"{name}.branch2.0.weight"]))
    reorder_conv(state, f"{name}.branch2.0", middle, into)
    reorder_conv(state, f"{name}.branch2.5", out, middle)
    reorder_norm(state, f"{name}.branch2.6", out)


def _units(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for stage in ("stage2", "stage3", "stage4"):
        for number, unit in enumerate(getattr(model, stage)):
            yield f"{stage}.{number}", unit


def _reverse(channels: int) -> Tensor:
    return torch.arange(channels - 1, -1, -1)


def _groups(channels: int, groups: int) -> Tensor:
    """The group of each channel."""
    return torch.arange(channels) // (channels // groups)


def _moved(order: Tensor, groups: int) -> Tensor:
    """The group over there of each of our groups."""
    return order.view(groups, -1)[:, 0] // (len(order) // groups)
