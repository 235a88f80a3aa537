"""Orders of channels: how they follow from each other, and what they do to weights.

An order is an index tensor ``order`` that says where our channels stand in another implementation: our channel ``k``
is its channel ``order[k]``. Applied to a tensor: ``ours = theirs[order]``.
"""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]


class OrderError(ValueError):
    """No order of channels makes two networks equal."""


def shuffle_order(channels: int, groups: int) -> Tensor:
    """The permutation of ``channel_shuffle``: its output ``k`` is its input ``shuffle_order(...)[k]``.

    ``shuffle_order(channels, channels // groups)`` is the inverse.
    """
    return torch.arange(channels).view(groups, channels // groups).t().flatten()


def inverse(order: Tensor) -> Tensor:
    """The order that undoes ``order``."""
    return torch.argsort(order)


def match(ours: Tensor, theirs: Tensor) -> Tensor:
    """An order under which labels agree: ``ours == theirs[order]``; equal labels keep their sequence.

    Raises:
        OrderError: a label occurs more often on one side.
    """
    our_places, their_places = (torch.argsort(labels, stable=True) for labels in (ours, theirs))
    if not torch.equal(ours[our_places], theirs[their_places]):
        raise OrderError("the channels of these two networks do not match")
    order = torch.empty_like(our_places)
    order[our_places] = their_places
    return order


def reorder_conv(state: State, name: str, out: Tensor, into: Tensor, groups: int = 1) -> None:
    """Reorders a convolution or linear layer.

    Args:
        state: state dict, changed in place.
        name: of the layer.
        out: order of its output channels.
        into: order of its input channels.
        groups: of the convolution. Channels may move within groups and groups as a whole, on both sides alike.

    Raises:
        OrderError: an output channel would need inputs of another group.
    """
    weight = state[f"{name}.weight"]
    per_group = weight.shape[1]
    group = torch.arange(len(out)) // (len(out) // groups)
    their_group = out // (len(out) // groups)
    columns = into.view(groups, per_group)[group] - their_group[:, None] * per_group
    if columns.min() < 0 or columns.max() >= per_group:
        raise OrderError(f"{name}: channels would have to change groups")
    columns = columns.view(*columns.shape, *[1] * (weight.ndim - 2)).expand_as(weight)
    state[f"{name}.weight"] = weight[out].gather(1, columns)
    reorder_vectors(state, name, out, ("bias",))


def reorder_norm(state: State, name: str, order: Tensor) -> None:
    """Reorders the channels of a batch normalisation, in place."""
    reorder_vectors(state, name, order, ("weight", "bias", "running_mean", "running_var"))


def reorder_vectors(state: State, name: str, order: Tensor, parameters: tuple[str, ...]) -> None:
    """Reorders parameters that have one value a channel, those there are, in place."""
    for parameter in parameters:
        if f"{name}.{parameter}" in state:
            state[f"{name}.{parameter}"] = state[f"{name}.{parameter}"][order]
