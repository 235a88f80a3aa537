"""Featherlight's networks for timm: after ``import featherlight.timm``, timm and its scripts know them.

    >>> import timm, featherlight.timm
    >>> network = timm.create_model("shufflenet_v1_g3_x1_0", num_classes=10, in_chans=1)

Dots in names become underscores, since timm keeps what follows a dot for weights. Names that timm has itself stay
timm's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from featherlight.errors import MissingExtraError
from featherlight.images import IMAGENET_MEAN, IMAGENET_STD
from featherlight.models.catalogue import list_models, model_info
from featherlight.models.layers import Stem
from featherlight.models.registry import create_model

try:
    import timm
except ModuleNotFoundError as missing:
    raise MissingExtraError("timm", "timm", "featherlight.timm") from missing

# What timm must know to fit weights to other images and classes: first convolution and classifier, by family.
_ENDS = {"mobilenet_v2": ("features.0.0", "classifier.1"), "mobilenet_v3": ("features.0.0", "classifier.3")}
_OWN_ENDS = ("conv1.0", "fc")


def timm_name(name: str) -> str:
    """What timm calls our network ``name``."""
    return name.replace(".", "_")


def _config(name: str) -> dict[str, Any]:
    first_conv, classifier = _ENDS.get(model_info(name).family, _OWN_ENDS)
    return {
        "input_size": (3, 224, 224),
        "interpolation": "bilinear",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "first_conv": first_conv,
        "classifier": classifier,
    }


def _build(
    name: str,
    pretrained: bool,
    num_classes: int = 1000,
    in_chans: int = 3,
    drop_rate: float | None = None,
    img_size: int | tuple[int, int] = 224,
    stem: Stem | None = None,
) -> nn.Module:
    side = img_size if isinstance(img_size, int) else min(img_size)
    network = create_model(name, num_classes, in_chans, side, stem, drop_rate, pretrained)
    network.num_classes = num_classes  # type: ignore[assignment]  # timm's scripts ask for it
    return network


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    """The function that timm calls for our network ``name``.

    It takes timm's ``num_classes, in_chans, drop_rate, img_size, pretrained, pretrained_cfg, pretrained_cfg_overlay``,
    and our ``stem``.
    """

    def build(
        pretrained: bool = False, pretrained_cfg: Any = None, pretrained_cfg_overlay: Any = None, **options: Any
    ) -> nn.Module:
        config = timm.models.resolve_pretrained_cfg(build.__name__, pretrained_cfg, pretrained_cfg_overlay)
        names_weights = bool(config.has_weights or config.state_dict)  # the caller's own; timm loads them
        network: nn.Module = timm.models.build_model_with_cfg(
            partial(_build, name, pretrained and not names_weights),
            build.__name__,
            pretrained and names_weights,
            config,
            **options,
        )
        return network

    build.__name__ = build.__qualname__ = timm_name(name)
    return build


_NEW = [name for name in list_models() if not timm.is_model(timm_name(name))]
# timm looks for this name in the module of an entry point.
default_cfgs = timm.models.generate_default_cfgs({timm_name(name): _config(name) for name in _NEW})
for _name in _NEW:
    timm.models.register_model(_entrypoint(_name))
