"""Layouts that differ from ours in nothing but the names of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from featherlight.interop.weights import Weights

Names = dict[str, str]  # our module name -> theirs, for every module that holds tensors of its own


def by_names(names: Callable[[nn.Module], Names]) -> Callable[[Weights, nn.Module], dict[str, Tensor]]:
    """The ``translate`` of a layout that only calls modules by other names."""

    def translate(weights: Weights, model: nn.Module) -> dict[str, Tensor]:
        return rename(weights, model, names(model))

    return translate


def rename(weights: Weights, model: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Takes the tensors of ``model`` out of ``weights``, which calls its modules by other names.

    Args:
        weights: parameters within a module (``weight``, ``running_mean``) are called as in PyTorch.
        model: the network to fill; tells what is wanted.
        names: our module name -> theirs.

    Returns:
        What was found, by the names in ``model.state_dict()``.
    """
    state = {}
    for name in model.state_dict():
        module, _, parameter = name.rpartition(".")
        theirs = f"{names[module]}.{parameter}" if module in names else ""
        if theirs in weights:
            state[name] = weights.take(theirs)
    return state


class Unit(NamedTuple):
    """Where a unit of our ShuffleNets stands: its name, stage (2 to 4), number in the stage and place among all."""

    name: str
    stage: int
    number: int
    place: int


def units(model: nn.Module) -> Iterator[Unit]:
    """The units of one of our ShuffleNets."""
    index = 0
    for stage in (2, 3, 4):
        for number in range(len(getattr(model, f"stage{stage}"))):
            yield Unit(f"stage{stage}.{number}", stage, number, index)
            index += 1
