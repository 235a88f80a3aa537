"""open-mmlab/mmpretrain: ShuffleNetV1, with the shuffle behind the depthwise convolution, and ShuffleNetV2."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from featherlight.interop.renaming import Names, units
from featherlight.interop.shuffles import reorder_shufflenet_v1

_V1_PARTS = {"squeeze": "g_conv_1x1_compress", "depthwise": "depthwise_conv3x3_bn", "expand": "g_conv_1x1_expand"}
# Our place in a branch of ShuffleNetV2 -> theirs.
_V2_PARTS = {
    "branch1.0": "branch1.0.conv", "branch1.1": "branch1.0.bn", "branch1.2": "branch1.1.conv",
    "branch1.3": "branch1.1.bn", "branch2.0": "branch2.0.conv", "branch2.1": "branch2.0.bn",
    "branch2.3": "branch2.1.conv", "branch2.4": "branch2.1.bn", "branch2.5": "branch2.2.conv",
    "branch2.6": "branch2.2.bn",
}  # fmt: skip


def recognise_v1(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV1`` with its classifier."""
    return "backbone.layers.0.0.g_conv_1x1_compress.conv.weight" in names


def recognise_v2(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV2`` with its classifier."""
    return "backbone.layers.0.0.branch1.0.conv.weight" in names


def names_v1(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = _stem_and_head()
    for ours, stage, number, _ in units(model):
        for our_part, their_part in _V1_PARTS.items():
            theirs = f"backbone.layers.{stage - 2}.{number}.{their_part}"
            result |= {f"{ours}.{our_part}.0": f"{theirs}.conv", f"{ours}.{our_part}.1": f"{theirs}.bn"}
    return result


def names_v2(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = _stem_and_head() | {"conv5.0": "backbone.layers.3.conv", "conv5.1": "backbone.layers.3.bn"}
    for ours, stage, number, _ in units(model):
        theirs = f"backbone.layers.{stage - 2}.{number}"
        result |= {f"{ours}.{our_part}": f"{theirs}.{their_part}" for our_part, their_part in _V2_PARTS.items()}
    return result


def reorder_v1(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Their channels -> ours."""
    return reorder_shufflenet_v1(state, model, after_depthwise=True)


def _stem_and_head() -> Names:
    return {"conv1.0": "backbone.conv1.conv", "conv1.1": "backbone.conv1.bn", "fc": "head.fc"}
