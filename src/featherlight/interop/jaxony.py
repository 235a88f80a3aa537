"""jaxony/ShuffleNet, model.py: ShuffleNetV1 in the paper's order of channels."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from featherlight.interop.renaming import Names, units


def recognise(names: Collection[str]) -> bool:
    """True for its ``ShuffleNet``."""
    return "stage2.ShuffleUnit_Stage2_0.depthwise_conv3x3.weight" in names


def names(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = {"conv1.0": "conv1", "fc": "fc"}
    for ours, stage, number, _ in units(model):
        theirs = f"stage{stage}.ShuffleUnit_Stage{stage}_{number}"
        result |= {
            f"{ours}.squeeze.0": f"{theirs}.g_conv_1x1_compress.conv1x1",
            f"{ours}.squeeze.1": f"{theirs}.g_conv_1x1_compress.batch_norm",
            f"{ours}.depthwise.0": f"{theirs}.depthwise_conv3x3",
            f"{ours}.depthwise.1": f"{theirs}.bn_after_depthwise",
            f"{ours}.expand.0": f"{theirs}.g_conv_1x1_expand.conv1x1",
            f"{ours}.expand.1": f"{theirs}.g_conv_1x1_expand.batch_norm",
        }
    return result
