"""torchvision's ShuffleNetV2, MobileNetV2 and MobileNetV3: our names are theirs."""

from __future__ import annotations

from collections.abc import Collection


def recognise_shufflenet_v2(names: Collection[str]) -> bool:
    """True for ``shufflenet_v2_x*`` of torchvision."""
    return "stage2.0.branch1.0.weight" in names and "conv5.0.weight" in names


def recognise_mobilenet_v2(names: Collection[str]) -> bool:
    """True for ``mobilenet_v2`` of torchvision."""
    return "features.1.conv.0.0.weight" in names and "classifier.1.weight" in names


def recognise_mobilenet_v3(names: Collection[str]) -> bool:
    """True for ``mobilenet_v3_*`` of torchvision."""
    return "features.1.block.0.0.weight" in names and "classifier.3.weight" in names
