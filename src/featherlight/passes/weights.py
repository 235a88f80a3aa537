"""Weights of a layer whose input or output channels stand in another order."""

from __future__ import annotations

import torch
from torch import Tensor

from featherlight.passes.channels import Numbers


def places_of(wanted: Numbers, among: Numbers) -> Tensor:
    """Where each of ``wanted`` stands in ``among``."""
    where = {number: place for place, number in enumerate(among.tolist())}
    return torch.tensor([where[number] for number in wanted.tolist()], dtype=torch.int64)


def reorder_grouped(weight: Tensor, rows: Tensor, columns: Tensor, groups: int) -> Tensor:
    """A grouped convolution's weight for rows and input channels in a new order that keeps the groups.

    Args:
        weight: (rows, channels of a group, ...).
        rows: for each new row the old one.
        columns: for each new input channel the old one, counted over all groups.
        groups: of the convolution.
    """
    per_group = weight.shape[1]
    local = (columns % per_group).view(groups, per_group)
    new_rows = weight[rows].view(groups, -1, *weight.shape[1:])
    return torch.stack([rows_of[:, order] for rows_of, order in zip(new_rows, local, strict=True)]).flatten(0, 1)
