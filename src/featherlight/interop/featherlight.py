"""Our own names, for weights without a model file around them. Some families have torchvision's names instead."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from featherlight.interop.renaming import Names


def recognise_shufflenet_v1(names: Collection[str]) -> bool:
    """True for our ShuffleNetV1."""
    return "stage2.0.squeeze.0.weight" in names


def recognise_shufflenet_v2(names: Collection[str]) -> bool:  # noqa: ARG001
    """Never: the names are torchvision's. Who knows that weights are of a variant of ours says so."""
    return False


def recognise_mobilenet_v1(names: Collection[str]) -> bool:
    """True for our MobileNetV1."""
    return "blocks.0.depthwise.0.weight" in names


def names(model: nn.Module) -> Names:
    """Every module is called what it is called."""
    return {name: name for name, _ in model.named_modules()}
