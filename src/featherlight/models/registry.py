"""Networks by name: ``create_model`` builds one, ``list_models`` and ``model_info`` tell what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from torch import nn

from featherlight.errors import UsageError
from featherlight.models.catalogue import TIMM, ModelInfo, list_models, model_info
from featherlight.models.layers import Stem
from featherlight.models.mobilenet_v1 import mobilenet_v1
from featherlight.models.options import change_options
from featherlight.models.plainnet import plainnet
from featherlight.models.shufflenet_v1 import shufflenet_v1
from featherlight.models.shufflenet_v2 import shufflenet_v2
from featherlight.models.timm_networks import timm_network

__all__ = ["ModelInfo", "create_model", "list_models", "model_info"]

_OWN_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "shufflenet_v1": shufflenet_v1,
    "shufflenet_v2": shufflenet_v2,
    "mobilenet_v1": mobilenet_v1,
    "plainnet": plainnet,
}
_CIFAR_STEM_UP_TO = 64
_MIN_INPUT_SIZE = 16


def create_model(
    name: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    input_size: int = 224,
    stem: Stem | None = None,
    dropout: float | None = None,
    pretrained: str | bool | None = False,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Builds the network ``name`` with fresh weights, ready to train.

    It takes float images (N, in_channels, H, W) of any size from 16 px and gives logits (N, num_classes); variants and
    options may say otherwise (``mobilenet_v1_x1_0.ascend`` gives softmax).
    Its attribute ``featherlight_arguments`` holds what builds the same network again.

    Args:
        name: one of ``list_models()``; with a tag for a published variant, ``shufflenet_v1_g3_x1_0.jaxony``; or
            ``timm/NAME``.
        num_classes: outputs.
        in_channels: 3 for colour, 1 for grey.
        input_size: side in pixels of the images to come; only chooses the stem.
        stem: "imagenet" as published; "cifar" shrinks small images less: stride 1, no pooling, and in MobileNetV2
            and V3, which have no pooling, stride 1 in the first stride-2 block. None: the variant's own if it has
            one, else "cifar" up to 64 px. timm's networks have only "imagenet".
        dropout: probability before the classifier, 0 <= p < 1. None: the network's own.
        pretrained: published ImageNet weights to fill the network with; True takes the best there are, a name such as
            "torchvision" those. They are downloaded once, verified and kept in the cache folder. With other than 1000
            classes the classifier stays fresh. False or None: fresh weights.
        options: fields of the family's options (``featherlight.models.options``) that differ from the network's own,
            for implementations that no tag stands for.

    Raises:
        UsageError: an unknown name, an argument that does not fit, or there are no such weights.
        DownloadError: the weights cannot be fetched.
        MissingExtraError: the network is torchvision's or timm's, which is not installed.
    """
    info = model_info(name)
    _check_whole("num_classes", num_classes, 1)
    _check_whole("in_channels", in_channels, 1)
    _check_whole("input_size", input_size, _MIN_INPUT_SIZE)
    common: dict[str, Any] = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "stem": _choose_stem(stem, input_size, info),
        "dropout": _choose_dropout(dropout, info),
    }
    network = _builder(info.family, input_size)(**info.arguments, **_choose_options(options, info), **common)
    arguments = {"name": name, "input_size": input_size, **common}
    # A plain attribute: no tensor, no module.
    network.featherlight_arguments = arguments | ({"options": dict(options)} if options else {})  # type: ignore[assignment]
    if pretrained:
        from featherlight.models.pretrained import fill_pretrained

        fill_pretrained(network, pretrained)
    return network


def _builder(family: str, input_size: int) -> Callable[..., nn.Module]:
    if family in _OWN_BUILDERS:
        return _OWN_BUILDERS[family]
    if family == TIMM:
        return partial(timm_network, input_size=input_size)  # transformers are built for a size
    # torchvision takes as long to import as torch: only when one of its networks is asked for.
    from featherlight.models.torchvision_networks import BUILDERS

    return BUILDERS[family]


def _choose_stem(stem: Stem | None, input_size: int, info: ModelInfo) -> Stem:
    if stem is None:
        return info.stem or ("cifar" if input_size <= _CIFAR_STEM_UP_TO else "imagenet")
    if stem not in get_args(Stem):
        raise UsageError(f"stem {stem!r} does not exist; choose one of {', '.join(get_args(Stem))}")
    return stem


def _choose_dropout(dropout: float | None, info: ModelInfo) -> float | None:
    if dropout is None:
        return info.dropout
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UsageError(f"dropout is {dropout!r}; give a probability from 0 up to, but not including, 1")
    return float(dropout)


def _choose_options(options: Mapping[str, Any] | None, info: ModelInfo) -> dict[str, Any]:
    """The builder's argument ``options``, if the family has any."""
    if options is not None and not isinstance(options, Mapping):
        raise UsageError(f"options are {options!r:.40}; give names and values, for example {{'norm_eps': 0.001}}")
    if info.options is not None:
        return {"options": change_options(info.options, options or {})}
    if options:
        raise UsageError(f"{info.name} has no options")
    return {}


def _check_whole(argument: str, value: int, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UsageError(f"{argument} is {value!r}; give a whole number of at least {minimum}")
