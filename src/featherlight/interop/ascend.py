"""MobileNetV1 of the Ascend course (PyTorch 实现MobileNetV1用于图像分类): nothing differs but names."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from featherlight.interop.renaming import Names

_STAGES = (5, 6, 2)  # blocks in each


def recognise(names: Collection[str]) -> bool:
    """True for its ``MobileNetV1``."""
    return "stage3.1.pointConv.0.weight" in names


def names(model: nn.Module) -> Names:  # noqa: ARG001
    """Ours -> theirs."""
    result = {"conv1.0": "entry.0", "conv1.1": "entry.1", "fc": "linear"}
    theirs = [f"stage{stage}.{number}" for stage, count in enumerate(_STAGES, 1) for number in range(count)]
    for number, name in enumerate(theirs):
        for ours, part in (("depthwise", "depthConv"), ("pointwise", "pointConv")):
            result |= {f"blocks.{number}.{ours}.{place}": f"{name}.{part}.{place}" for place in (0, 1)}
    return result
