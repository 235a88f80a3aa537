"""Weights of a layer whose input or output channels stand in another order, with some left out or filled in."""

from __future__ import annotations

import torch
from torch import Tensor

from featherlight.passes.channels import Numbers


def places_of(wanted: Numbers, among: Numbers) -> Tensor:
    """Where each of ``wanted`` stands in ``among``; -1 for what is not there."""
    where = {int(number): place for place, number in enumerate(among)}
    return torch.tensor([where.get(int(number), -1) for number in wanted], dtype=torch.int64)


def take(values: Tensor, places: Tensor, dimension: int = 0, filling: float = 0.0) -> Tensor:
    """Entries along a dimension; ``filling`` where the place is -1."""
    taken = values.index_select(dimension, places.clamp(min=0))
    if bool((places >= 0).all()):
        return taken
    shape = [1] * values.ndim
    shape[dimension] = -1
    return torch.where((places >= 0).view(shape), taken, torch.tensor(filling, dtype=values.dtype))


def reorder_grouped(weight: Tensor, rows: Tensor, columns: Tensor, groups: int) -> Tensor:
    """A grouped convolution's weight for rows and input channels in a new order that keeps the groups.

    Args:
        weight: (rows, channels of a group, ...).
        rows: for each new row the old one; -1 for a row of zeros.
        columns: for each new input channel the old one, counted over all groups; -1 for zeros.
        groups: of the convolution.
    """
    per_group = weight.shape[1]
    new_group = torch.arange(len(rows)) // (len(rows) // groups)
    local = torch.where(columns < 0, -1, columns % per_group).view(groups, -1)
    new = torch.stack([take(take(weight, rows[new_group == group]), local[group], 1) for group in range(groups)])
    return new.flatten(0, 1)
