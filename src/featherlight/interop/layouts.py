"""The layouts of weights there are, and which one a file has."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import nn

from featherlight.errors import ModelFileError, UsageError
from featherlight.interop import (
    ascend,
    featherlight,
    jaxony,
    keras,
    kuangliu,
    megvii,
    mindspore,
    mmpretrain,
    pytorchcv,
    timm,
    torchvision,
)
from featherlight.interop.permutations import State
from featherlight.interop.renaming import by_names
from featherlight.interop.weights import Weights


def _keep_order(state: State, model: nn.Module) -> State:  # noqa: ARG001
    return state


@dataclass(frozen=True)
class Layout:
    """How one implementation names and orders the weights of one family.

    Attributes:
        name: the implementation, what ``--from`` takes.
        family: of the networks, as in ``ModelInfo.family``.
        recognise: whether these are its names.
        translate: takes tensors by their names, returns them by ours.
        reorder: from their order of channels to ours; runs once all tensors are there and have the right shapes.
    """

    name: str
    family: str
    recognise: Callable[[Collection[str]], bool]
    translate: Callable[[Weights, nn.Module], State]
    reorder: Callable[[State, nn.Module], State] = _keep_order


LAYOUTS = (
    Layout("torchvision", "shufflenet_v2", torchvision.recognise_shufflenet_v2, by_names(featherlight.names)),
    Layout("torchvision", "mobilenet_v2", torchvision.recognise_mobilenet_v2, by_names(featherlight.names)),
    Layout("torchvision", "mobilenet_v3", torchvision.recognise_mobilenet_v3, by_names(featherlight.names)),
    Layout("featherlight", "shufflenet_v1", featherlight.recognise_shufflenet_v1, by_names(featherlight.names)),
    Layout("featherlight", "mobilenet_v1", featherlight.recognise_mobilenet_v1, by_names(featherlight.names)),
    Layout("featherlight", "shufflenet_v2", featherlight.recognise_shufflenet_v2, by_names(featherlight.names)),
    Layout("timm", "mobilenet_v1", timm.recognise, by_names(timm.names)),
    Layout("ascend", "mobilenet_v1", ascend.recognise, by_names(ascend.names)),
    Layout("jaxony", "shufflenet_v1", jaxony.recognise, by_names(jaxony.names)),
    Layout("megvii", "shufflenet_v1", megvii.recognise_v1, by_names(megvii.names_v1), megvii.reorder_v1),
    Layout("megvii", "shufflenet_v2", megvii.recognise_v2, by_names(megvii.names_v2), megvii.reorder_v2),
    Layout(
        "mmpretrain", "shufflenet_v1", mmpretrain.recognise_v1, by_names(mmpretrain.names_v1), mmpretrain.reorder_v1
    ),
    Layout("mmpretrain", "shufflenet_v2", mmpretrain.recognise_v2, by_names(mmpretrain.names_v2)),
    Layout("kuangliu", "shufflenet_v1", kuangliu.recognise_v1, by_names(kuangliu.names_v1), kuangliu.reorder_v1),
    Layout("kuangliu", "shufflenet_v2", kuangliu.recognise_v2, by_names(kuangliu.names_v2)),
    Layout("kuangliu", "mobilenet_v1", kuangliu.recognise_mobilenet, by_names(kuangliu.names_mobilenet)),
    Layout("pytorchcv", "shufflenet_v1", pytorchcv.recognise_v1, by_names(pytorchcv.names_v1), pytorchcv.reorder_v1),
    Layout("pytorchcv", "shufflenet_v2", pytorchcv.recognise_v2, by_names(pytorchcv.names_v2)),
    Layout("pytorchcv_b", "shufflenet_v2", pytorchcv.recognise_v2b, by_names(pytorchcv.names_v2b)),
    Layout("pytorchcv", "mobilenet_v1", pytorchcv.recognise_mobilenet, by_names(pytorchcv.names_mobilenet)),
    Layout("keras", "shufflenet_v2", keras.recognise, keras.translate),
    Layout("mindspore", "shufflenet_v1", mindspore.recognise_tutorial, mindspore.translate_v1, mindspore.reorder_v1),
    Layout("mindcv", "shufflenet_v1", mindspore.recognise_mindcv_v1, mindspore.translate_v1, mindspore.reorder_v1),
    Layout("mindcv", "mobilenet_v1", mindspore.recognise_mindcv_mobilenet, mindspore.translate_mobilenet),
)


def layout_names(family: str | None = None) -> list[str]:
    """Names of the layouts, of one family or of all."""
    return list(dict.fromkeys(layout.name for layout in LAYOUTS if family in (None, layout.family)))


def named_layout(name: str, family: str) -> Layout:
    """The layout of this name for a family.

    Raises:
        UsageError: there is none; the message says which there are.
    """
    for layout in LAYOUTS:
        if (layout.name, layout.family) == (name, family):
            return layout
    raise UsageError(f"there is no layout {name!r} for {family}; choose one of {', '.join(layout_names(family))}")


def recognise_layout(origin: str, names: Collection[str], family: str) -> Layout:
    """The layout that a file with these names of tensors has.

    Args:
        origin: the file, for messages.
        names: of its tensors.
        family: of the network it is for.

    Raises:
        ModelFileError: none that is known, or one of another family.
    """
    found = [layout for layout in LAYOUTS if layout.recognise(names)]
    for layout in found:
        if layout.family == family:
            return layout
    if found:
        raise ModelFileError(f"{origin}: weights of {found[0].family} in {found[0].name}'s layout, not of {family}")
    first = ", ".join(ascii(name[:60])[1:-1] for name in sorted(names)[:3])
    raise ModelFileError(
        f"{origin}: its names ({first}, ...) are of no layout that is known for {family} "
        f"({', '.join(layout_names(family))})"
    )
