"""MindSpore's names: the ShuffleNetV1 of MindSpore's tutorial, and mindcv's ShuffleNetV1 and MobileNetV1.

The tutorial and mindcv name everything alike; mindcv's ShuffleNetV1 has no classifier bias. A grouped convolution is
one parameter (mindcv 0.3.0) or a list of convolutions ``convs.i`` (the tutorial, mindcv since 0.4).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count, takewhile

import torch
from torch import Tensor, nn

from featherlight.interop.permutations import State
from featherlight.interop.renaming import Names, units
from featherlight.interop.shuffles import inverse_shuffle, reorder_shufflenet_v1
from featherlight.interop.weights import Weights

_PARAMETERS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_MOBILENET_BLOCKS = 13
# Our place in a unit of ShuffleNetV1 -> theirs.
_V1_PARTS = {
    "squeeze.0": "branch_main_1.0", "squeeze.1": "branch_main_1.1", "depthwise.0": "branch_main_2.0",
    "depthwise.1": "branch_main_2.1", "expand.0": "branch_main_2.2", "expand.1": "branch_main_2.3",
}  # fmt: skip
# What training leaves in a checkpoint beside the network: numbers, and slots of optimisers, SLOT.PARAMETER.
_NUMBERS = {
    "global_step", "learning_rate", "momentum", "weight_decay", "beta1_power", "beta2_power", "epoch_num", "step_num",
    "current_iterator_step", "last_overflow_iterator_step", "scale_sense", "loss_scale", "good_steps",
}  # fmt: skip
_SLOTS = {
    "moments", "moment", "moment1", "moment2", "vhat", "accum", "stat", "adam_m", "adam_v", "lamb_m", "lamb_v",
    "mean_square", "mean_grad", "rms", "linear", "exp_avg", "exp_avg_sq",
}  # fmt: skip


def recognise_tutorial(names: Collection[str]) -> bool:
    """True for the ShuffleNetV1 of the tutorial: its classifier has a bias."""
    return _is_shufflenet(names) and "classifier.bias" in names


def recognise_mindcv_v1(names: Collection[str]) -> bool:
    """True for ``shufflenet_v1_*`` of mindcv."""
    return _is_shufflenet(names) and "classifier.bias" not in names


def recognise_mindcv_mobilenet(names: Collection[str]) -> bool:
    """True for ``mobilenet_v1_*`` of mindcv."""
    return "features.3.0.weight" in names and "features.1.moving_mean" in names


def _is_shufflenet(names: Collection[str]) -> bool:
    return "first_conv.1.moving_mean" in names and "features.0.branch_main_1.1.moving_mean" in names


def translate_v1(weights: Weights, model: nn.Module) -> State:
    """Names of the tutorial and of mindcv to ours; lists of convolutions become one."""
    names = {"conv1.0": "first_conv.0", "conv1.1": "first_conv.1", "fc": "classifier"}
    for unit in units(model):
        names |= {f"{unit.name}.{ours}": f"features.{unit.place}.{theirs}" for ours, theirs in _V1_PARTS.items()}
    return _translate(weights, model, names)


def translate_mobilenet(weights: Weights, model: nn.Module) -> State:
    """Mindcv's names to ours."""
    names = {"conv1.0": "features.0", "conv1.1": "features.1", "fc": "classifier"}
    for block in range(_MOBILENET_BLOCKS):
        for part, first in (("depthwise", 0), ("pointwise", 3)):
            names |= {f"blocks.{block}.{part}.{i}": f"features.{block + 3}.{first + i}" for i in (0, 1)}
    return _translate(weights, model, names)


def reorder_v1(state: State, model: nn.Module) -> State:
    """Their channels -> ours: the shuffle is the inverse one."""
    return reorder_shufflenet_v1(state, model, shuffle=inverse_shuffle)


def _translate(weights: Weights, model: nn.Module, names: Names) -> State:
    _drop_training(weights)
    state = {}
    for name in model.state_dict():
        module, _, parameter = name.rpartition(".")
        if module in names:
            tensor = _take(weights, names[module], _name_in(model.get_submodule(module), parameter))
            if tensor is not None:
                state[name] = tensor
    return state


def _name_in(module: nn.Module, parameter: str) -> str:
    return _PARAMETERS.get(parameter, parameter) if isinstance(module, nn.BatchNorm2d) else parameter


def _take(weights: Weights, module: str, parameter: str) -> Tensor | None:
    """One parameter, or a grouped convolution's list of them in one."""
    name = f"{module}.{parameter}"
    if name in weights:
        return weights.take(name)
    listed = takewhile(weights.__contains__, (f"{module}.convs.{i}.{parameter}" for i in count()))
    parts = {name: weights.tensors[name] for name in listed}
    shapes = {part.shape for part in parts.values()}
    if len(shapes) != 1 or not all(shapes):  # then they are reported as left over
        return None
    return torch.cat([weights.take(name) for name in parts])


def _drop_training(weights: Weights) -> None:
    names = set(weights)
    for name in names:
        slot, _, parameter = name.partition(".")
        if name in _NUMBERS or (slot in _SLOTS and parameter in names):
            weights.take(name)
