"""kuangliu/pytorch-cifar: ShuffleNetG2 and G3 (V1), which concatenate the branch first, ShuffleNetV2 and MobileNet."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from featherlight.interop.renaming import Names, units
from featherlight.interop.shuffles import no_shuffle, reorder_shufflenet_v1

_V1_PARTS = ("squeeze", "depthwise", "expand")
_V2_SPLIT = {"branch2.0": "conv1", "branch2.3": "conv2", "branch2.5": "conv3"}
_V2_DOWN = {
    "branch1.0": "conv1", "branch1.2": "conv2", "branch2.0": "conv3", "branch2.3": "conv4", "branch2.5": "conv5"
}  # fmt: skip


def recognise_v1(names: Collection[str]) -> bool:
    """True for ``ShuffleNet``; its ResNets have more layers and weights in the shortcut."""
    return (
        "layer3.3.conv3.weight" in names
        and "layer2.7.conv3.weight" in names
        and not recognise_v2(names)
        and not any(name.startswith("layer4") or ".shortcut." in name for name in names)
    )


def recognise_v2(names: Collection[str]) -> bool:
    """True for ``ShuffleNetV2``."""
    return "layer1.0.conv5.weight" in names and "conv2.weight" in names


def recognise_mobilenet(names: Collection[str]) -> bool:
    """True for ``MobileNet``."""
    return "layers.12.conv2.weight" in names and "layers.12.conv3.weight" not in names


def names_v1(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = {"conv1.0": "conv1", "conv1.1": "bn1", "fc": "linear"}
    for ours, stage, number, _ in units(model):
        theirs = f"layer{stage - 1}.{number}"
        for place, part in enumerate(_V1_PARTS, start=1):
            result |= {f"{ours}.{part}.0": f"{theirs}.conv{place}", f"{ours}.{part}.1": f"{theirs}.bn{place}"}
    return result


def names_v2(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = {"conv1.0": "conv1", "conv1.1": "bn1", "conv5.0": "conv2", "conv5.1": "bn2", "fc": "linear"}
    for ours, stage, number, _ in units(model):
        for part, theirs in (_V2_SPLIT if number else _V2_DOWN).items():
            branch, _, place = part.rpartition(".")
            name = f"layer{stage - 1}.{number}.{theirs}"
            result |= {f"{ours}.{part}": name, f"{ours}.{branch}.{int(place) + 1}": name.replace(".conv", ".bn")}
    return result


def names_mobilenet(model: nn.Module) -> Names:
    """Ours -> theirs."""
    result = {"conv1.0": "conv1", "conv1.1": "bn1", "fc": "linear"}
    for number in range(len(model.blocks)):  # type: ignore[arg-type]
        for place, part in enumerate(("depthwise", "pointwise"), start=1):
            ours, theirs = f"blocks.{number}.{part}", f"layers.{number}"
            result |= {f"{ours}.0": f"{theirs}.conv{place}", f"{ours}.1": f"{theirs}.bn{place}"}
    return result


def reorder_v1(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Their channels -> ours."""
    return reorder_shufflenet_v1(state, model, first_shuffle=no_shuffle, branch_first=True)
