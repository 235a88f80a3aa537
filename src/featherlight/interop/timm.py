"""timm's MobileNetV1 (mobilenetv1_100): nothing differs but names."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from featherlight.interop.renaming import Names

_STAGES = (1, 2, 2, 6, 2)  # blocks in each


def recognise(names: Collection[str]) -> bool:
    """True for ``mobilenetv1_100``; timm's other networks of this make have more convolutions a block."""
    return "blocks.4.1.conv_pw.weight" in names and "blocks.3.5.conv_dw.weight" in names


def names(model: nn.Module) -> Names:  # noqa: ARG001
    """Ours -> theirs."""
    result = {"conv1.0": "conv_stem", "conv1.1": "bn1", "fc": "classifier"}
    theirs = [f"blocks.{stage}.{number}" for stage, count in enumerate(_STAGES) for number in range(count)]
    for number, name in enumerate(theirs):
        result |= {
            f"blocks.{number}.depthwise.0": f"{name}.conv_dw",
            f"blocks.{number}.depthwise.1": f"{name}.bn1",
            f"blocks.{number}.pointwise.0": f"{name}.conv_pw",
            f"blocks.{number}.pointwise.1": f"{name}.bn2",
        }
    return result
