"""megvii-model/ShuffleNet-Series: ShuffleNetV1 and V2, with the inverse shuffle, elsewhere than in the paper."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from featherlight.interop.renaming import Names, units
from featherlight.interop.shuffles import inverse_shuffle, reorder_shufflenet_v1, reorder_shufflenet_v2

_V1_PARTS = {
    "squeeze.0": "branch_main_1.0",
    "squeeze.1": "branch_main_1.1",
    "depthwise.0": "branch_main_1.3",
    "depthwise.1": "branch_main_1.4",
    "expand.0": "branch_main_2.0",
    "expand.1": "branch_main_2.1",
}


def recognise_v1(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV1``, where the convolutions are of one piece (MindSpore's have the same names else)."""
    return "features.0.branch_main_1.3.weight" in names


def recognise_v2(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV2``."""
    return "features.0.branch_main.3.weight" in names and "features.0.branch_proj.1.running_mean" in names


def names_v1(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = _stem_and_head()
    for ours, _, _, place in units(model):
        result |= {f"{ours}.{part}": f"features.{place}.{theirs}" for part, theirs in _V1_PARTS.items()}
    return result


def names_v2(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = _stem_and_head() | {"conv5.0": "conv_last.0", "conv5.1": "conv_last.1"}
    for ours, _, _, place in units(model):
        for branch, theirs, layers in (("branch1", "branch_proj", 4), ("branch2", "branch_main", 7)):
            result |= {f"{ours}.{branch}.{layer}": f"features.{place}.{theirs}.{layer}" for layer in range(layers)}
    return result


def reorder_v1(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Their channels -> ours."""
    return reorder_shufflenet_v1(state, model, shuffle=inverse_shuffle, after_depthwise=True)


def reorder_v2(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Their channels -> ours."""
    return reorder_shufflenet_v2(state, model)


def _stem_and_head() -> Names:
    return {"conv1.0": "first_conv.0", "conv1.1": "first_conv.1", "fc": "classifier.0"}
