"""MindSpore's names: the ShuffleNetV1 of MindSpore's tutorial, and mindcv's ShuffleNetV1 and MobileNetV1.

The tutorial and mindcv name everything alike; mindcv's ShuffleNetV1 has no classifier bias. A grouped convolution is
one parameter (mindcv 0.3.0) or a list of convolutions ``convs.i`` (the tutorial, mindcv since 0.4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from featherlight.interop.weights import Weights

_PARAMETERS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_UNITS = (4, 8, 4)  # of ShuffleNetV1's stages
_IN_UNIT = {"squeeze": "branch_main_1.{}", "depthwise": "branch_main_2.{}", "expand": "branch_main_2.{}"}
# What training leaves in a checkpoint beside the network; slots of optimisers carry a parameter's name behind a word.
_TRAINING = {
    "global_step", "learning_rate", "momentum", "weight_decay", "beta1_power", "beta2_power", "epoch_num", "step_num",
    "current_iterator_step", "last_overflow_iterator_step", "scale_sense", "loss_scale", "good_steps",
}  # fmt: skip


def recognise_tutorial(names: Collection[str]) -> bool:
    """True for the ShuffleNetV1 of the tutorial: its classifier has a bias."""
    return _is_shufflenet(names) and "classifier.bias" in names


def recognise_mindcv_shufflenet(names: Collection[str]) -> bool:
    """True for ``shufflenet_v1_*`` of mindcv."""
    return _is_shufflenet(names) and "classifier.bias" not in names


def recognise_mindcv_mobilenet(names: Collection[str]) -> bool:
    """True for ``mobilenet_v1_*`` of mindcv."""
    return "features.3.0.weight" in names and "features.1.moving_mean" in names


def _is_shufflenet(names: Collection[str]) -> bool:
    return "first_conv.1.moving_mean" in names and "features.0.branch_main_1.1.moving_mean" in names


def translate_shufflenet(weights: Weights, model: nn.Module) -> dict[str, Tensor]:
    """Names of the tutorial and of mindcv to ours; lists of convolutions become one."""
    return _translate(weights, model, _shufflenet_module)


def translate_mobilenet(weights: Weights, model: nn.Module) -> dict[str, Tensor]:
    """Mindcv's names to ours."""
    return _translate(weights, model, _mobilenet_module)


def _translate(weights: Weights, model: nn.Module, theirs: Callable[[str], str]) -> dict[str, Tensor]:
    _drop_training(weights)
    state = {}
    for name, module in model.named_modules():
        for parameter in (*module._parameters, *module._buffers):
            tensor = _take(weights, theirs(name), _name_in(module, parameter))
            if tensor is not None:
                state[f"{name}.{parameter}"] = tensor
    return state


def _name_in(module: nn.Module, parameter: str) -> str:
    return _PARAMETERS.get(parameter, parameter) if isinstance(module, nn.BatchNorm2d) else parameter


def _take(weights: Weights, module: str, parameter: str) -> Tensor | None:
    """One parameter, or a grouped convolution's list of them in one."""
    name = f"{module}.{parameter}"
    if name in weights:
        return weights.take(name)
    count = next(i for i in range(len(weights.tensors) + 1) if f"{module}.convs.{i}.{parameter}" not in weights)
    parts = [weights.tensors[f"{module}.convs.{i}.{parameter}"] for i in range(count)]
    if not parts or len({part.shape for part in parts}) > 1:  # then they are reported as left over
        return None
    for i in range(count):
        weights.take(f"{module}.convs.{i}.{parameter}")
    return torch.cat(parts)


def _drop_training(weights: Weights) -> None:
    names = set(weights)
    for name in names:
        slot, _, parameter = name.partition(".")
        if name in _TRAINING or (slot.isidentifier() and parameter in names):
            weights.take(name)


def _shufflenet_module(ours: str) -> str:
    """``stage3.2.expand.1`` -> ``features.6.branch_main_2.3``."""
    stage, _, rest = ours.partition(".")
    if stage == "conv1":
        return f"first_conv.{rest}"
    if not rest:
        return {"fc": "classifier"}.get(stage, stage)
    unit, _, rest = rest.partition(".")
    part, _, number = rest.partition(".")
    if part not in _IN_UNIT or not number:
        return ours
    index = sum(_UNITS[: int(stage.removeprefix("stage")) - 2]) + int(unit)
    return f"features.{index}.{_IN_UNIT[part].format(int(number) + (2 if part == 'expand' else 0))}"


def _mobilenet_module(ours: str) -> str:
    """``blocks.4.pointwise.1`` -> ``features.7.4``."""
    first, _, rest = ours.partition(".")
    if first == "conv1":
        return f"features.{rest}"
    if first == "blocks" and rest.count(".") == 2:
        block, part, number = rest.split(".")
        return f"features.{int(block) + 3}.{int(number) + (3 if part == 'pointwise' else 0)}"
    return {"fc": "classifier"}.get(ours, ours)
