"""Layouts that differ from ours in nothing but the names of modules."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from featherlight.interop.weights import Weights


def rename(weights: Weights, model: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Takes the tensors of ``model`` out of ``weights``, which calls its modules by other names.

    Args:
        weights: parameters within a module (``weight``, ``running_mean``) are called as in PyTorch.
        model: the network to fill; tells what is wanted.
        names: our module name -> theirs, for every module that holds tensors of its own.

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
