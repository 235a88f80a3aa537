"""osmr/pytorchcv: ShuffleNet (V1), which concatenates the branch first, ShuffleNetV2, ShuffleNetV2b and MobileNet."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from featherlight.interop.renaming import Names, units
from featherlight.interop.shuffles import reorder_shufflenet_v1

_V1_PARTS = {
    "squeeze.0": "compress_conv1", "squeeze.1": "compress_bn1", "depthwise.0": "dw_conv2", "depthwise.1": "dw_bn2",
    "expand.0": "expand_conv3", "expand.1": "expand_bn3",
}  # fmt: skip
_V2_PARTS = {
    "branch1.0": "dw_conv4", "branch1.1": "dw_bn4", "branch1.2": "expand_conv5", "branch1.3": "expand_bn5",
    "branch2.0": "compress_conv1", "branch2.1": "compress_bn1", "branch2.3": "dw_conv2", "branch2.4": "dw_bn2",
    "branch2.5": "expand_conv3", "branch2.6": "expand_bn3",
}  # fmt: skip
_V2B_PARTS = {
    "branch1.0": "shortcut_dconv.conv", "branch1.1": "shortcut_dconv.bn", "branch1.2": "shortcut_conv.conv",
    "branch1.3": "shortcut_conv.bn", "branch2.0": "conv1.conv", "branch2.1": "conv1.bn", "branch2.3": "dconv.conv",
    "branch2.4": "dconv.bn", "branch2.5": "conv2.conv", "branch2.6": "conv2.bn",
}  # fmt: skip
_MOBILENET_STAGES = (1, 2, 2, 6, 2)


def recognise_v1(names: Collection[str]) -> bool:
    """True for ``ShuffleNet``."""
    return "features.init_block.conv.weight" in names and "features.stage1.unit1.compress_conv1.weight" in names


def recognise_v2(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV2``."""
    return "features.stage1.unit1.expand_conv5.weight" in names


def recognise_v2b(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV2b``."""
    return "features.stage1.unit1.shortcut_dconv.conv.weight" in names


def recognise_mobilenet(names: Collection[str]) -> bool:
    """True for ``MobileNet``."""
    return "features.stage5.unit2.pw_conv.conv.weight" in names and "features.stage1.unit1.dw_conv.bn.weight" in names


def names_v1(model: nn.Module) -> Names:
    """Ours -> theirs."""
    stem = {"conv1.0": "features.init_block.conv", "conv1.1": "features.init_block.bn", "fc": "output"}
    return stem | _unit_names(model, _V1_PARTS)


def names_v2(model: nn.Module) -> Names:
    """Ours -> theirs."""
    return _stem_and_head_v2() | _unit_names(model, _V2_PARTS)


def names_v2b(model: nn.Module) -> Names:
    """Ours -> theirs."""
    return _stem_and_head_v2() | _unit_names(model, _V2B_PARTS)


def names_mobilenet(model: nn.Module) -> Names:  # noqa: ARG001
    """Ours -> theirs."""
    result = {"conv1.0": "features.init_block.conv", "conv1.1": "features.init_block.bn", "fc": "output"}
    theirs = [f"stage{s}.unit{u}" for s, count in enumerate(_MOBILENET_STAGES, 1) for u in range(1, count + 1)]
    for number, name in enumerate(theirs):
        for ours, part in (("depthwise", "dw_conv"), ("pointwise", "pw_conv")):
            result |= {
                f"blocks.{number}.{ours}.0": f"features.{name}.{part}.conv",
                f"blocks.{number}.{ours}.1": f"features.{name}.{part}.bn",
            }
    return result


def reorder_v1(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Their channels -> ours."""
    return reorder_shufflenet_v1(state, model, branch_first=True)


def _stem_and_head_v2() -> Names:
    return {
        "conv1.0": "features.init_block.conv.conv",
        "conv1.1": "features.init_block.conv.bn",
        "conv5.0": "features.final_block.conv",
        "conv5.1": "features.final_block.bn",
        "fc": "output",
    }


def _unit_names(model: nn.Module, parts: Names) -> Names:
    return {
        f"{unit.name}.{ours}": f"features.stage{unit.stage - 1}.unit{unit.number + 1}.{theirs}"
        for unit in units(model)
        for ours, theirs in parts.items()
    }
