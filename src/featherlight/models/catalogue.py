"""The networks there are: names and facts, without building any. Pure data, so it works without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from featherlight.errors import UsageError, did_you_mean
from featherlight.models.options import MobileNetV1Options, Options, ShuffleNetV1Options, ShuffleNetV2Options
from featherlight.models.variants import VARIANTS, Variant


@dataclass(frozen=True)
class ModelInfo:
    """One network, plain as its paper has it, or a published variant (``NAME.TAG``).

    Attributes:
        name: what ``create_model`` and ``--model`` take.
        family: file of the network and name of its builder, for example ``shufflenet_v1``.
        title: the family as its paper writes it.
        description: one line.
        source: paper and, where the code is not ours, whose it is.
        params: trainable parameters at 1000 classes and 3 image channels; 0 for timm's, which are not known here.
        dropout: the network's own, before the classifier; None where only its builder knows.
        arguments: what tells it apart within its family; the builder's first arguments.
        options: where it differs from its paper; None for torchvision's networks, which have none.
        tag: of a published variant; empty for a plain network.
        differs: what the variant does differently.
        alias_of: the plain network that computes the same, where only the order of channels or names differ.
        stem: where the published network has the same one for all image sizes.
    """

    name: str
    family: str
    title: str
    description: str
    source: str
    params: int
    dropout: float | None = 0.0
    arguments: Mapping[str, int | float | str] = field(default_factory=dict, hash=False)
    options: Options | None = None
    tag: str = ""
    differs: str = ""
    alias_of: str | None = None
    stem: Literal["imagenet", "cifar"] | None = None

    @property
    def plain(self) -> str:
        """Name without the tag."""
        return self.name.partition(".")[0]


TIMM = "timm"  # family and prefix of timm's networks, which are not listed

# (groups, width) -> parameters: every combination whose channels divide by the groups.
_SHUFFLENET_V1 = {
    (1, 0.25): 209_746,
    (1, 0.5): 534_484,
    (1, 0.75): 975_214,
    (1, 1.0): 1_531_936,
    (1, 1.5): 2_993_032,
    (1, 2.0): 4_918_744,
    (2, 1.0): 1_733_848,
    (2, 2.0): 5_257_896,
    (3, 0.25): 305_902,
    (3, 0.5): 718_324,
    (3, 0.75): 1_238_266,
    (3, 1.0): 1_865_728,
    (3, 1.5): 3_442_168,
    (3, 2.0): 5_450_776,
    (4, 1.0): 1_968_344,
    (4, 2.0): 5_593_528,
    (8, 0.5): 1_011_448,
    (8, 1.0): 2_434_768,
    (8, 1.5): 4_269_952,
    (8, 2.0): 6_522_232,
}
_SHUFFLENET_V2 = {0.5: 1_366_792, 1.0: 2_278_604, 1.5: 3_503_624, 2.0: 7_393_996}
_MOBILENET_V1 = {0.25: 470_072, 0.5: 1_331_592, 0.75: 2_585_560, 1.0: 4_231_976}
_MOBILENET_V3 = {"small": 2_542_856, "large": 5_483_032}
_PLAINNET = {0.25: 188_952, 0.5: 622_224, 1.0: 2_227_256}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern: plain ones by family, groups and width, then variants by tag.

    >>> list_models("mobilenet_v3*")
    ['mobilenet_v3_small', 'mobilenet_v3_large']
    >>> list_models("*.kuangliu")
    ['shufflenet_v1_g2_x1_0.kuangliu', 'shufflenet_v1_g3_x1_0.kuangliu']
    """
    return [name for name in _CATALOGUE if fnmatchcase(name, pattern)]


def find_info(name: str) -> ModelInfo | None:
    """What is known about the network ``name``; None if there is none."""
    return _CATALOGUE.get(name)


def model_info(name: str) -> ModelInfo:
    """What is known about the network ``name``; of ``timm/NAME`` not even whether it exists.

    Raises:
        UsageError: there is none of this name; the message has the nearest ones.
    """
    if name in _CATALOGUE:
        return _CATALOGUE[name]
    if name.startswith(f"{TIMM}/"):
        return _timm_network(name)
    plain, _, tag = name.partition(".")
    if tag and plain in _CATALOGUE:
        tags = ", ".join(info.tag for info in _CATALOGUE.values() if info.tag and info.plain == plain) or "none"
        raise UsageError(f"there is no network named {name!r}; the published variants of {plain} are: {tags}")
    hint = did_you_mean(name, _CATALOGUE, most=3) or f" for example {' or '.join(_EXAMPLES)}."
    reason = " (its channels would not divide by its groups)" if _V1_NAME.fullmatch(name) else ""
    raise UsageError(f"there is no network named {name!r}{reason};{hint} `featherlight models` lists all of them")


def _shufflenets_v1() -> Iterator[ModelInfo]:
    for (groups, width), params in _SHUFFLENET_V1.items():
        plural = "group" if groups == 1 else "groups"
        yield ModelInfo(
            name=f"shufflenet_v1_g{groups}_{_suffix(width)}",
            family="shufflenet_v1",
            title="ShuffleNetV1",
            description=f"grouped 1x1 convolutions and channel shuffle, {groups} {plural}, width {width}",
            source="Zhang et al. 2018, arXiv 1707.01083",
            params=params,
            arguments={"groups": groups, "width_mult": width},
            options=ShuffleNetV1Options(),
        )


def _by_width(
    family: str, title: str, description: str, source: str, params: Mapping[float, int], options: Options | None = None
) -> Iterator[ModelInfo]:
    """A family whose networks differ in width alone."""
    for width, number in params.items():
        yield ModelInfo(
            name=f"{family}_{_suffix(width)}",
            family=family,
            title=title,
            description=f"{description}, width {width}",
            source=source,
            params=number,
            arguments={"width_mult": width},
            options=options,
        )


def _shufflenets_v2() -> Iterator[ModelInfo]:
    what, source = "half of the channels pass by, then channel shuffle", "Ma et al. 2018, arXiv 1807.11164"
    return _by_width("shufflenet_v2", "ShuffleNetV2", what, source, _SHUFFLENET_V2, ShuffleNetV2Options())


def _mobilenets_v1() -> Iterator[ModelInfo]:
    what, source = "depthwise separable convolutions", "Howard et al. 2017, arXiv 1704.04861"
    return _by_width("mobilenet_v1", "MobileNetV1", what, source, _MOBILENET_V1, MobileNetV1Options())


def _plainnets() -> Iterator[ModelInfo]:
    what, source = "dense 3x3 convolutions for images up to 64 px", "Featherlight, after Jordan 2024, arXiv 2404.00498"
    return _by_width("plainnet", "PlainNet", what, source, _PLAINNET)


def _torchvision_networks() -> Iterator[ModelInfo]:
    yield ModelInfo(
        name="mobilenet_v2_x1_0",
        family="mobilenet_v2",
        title="MobileNetV2",
        description="inverted residuals with linear bottlenecks, width 1.0",
        source="Sandler et al. 2018, arXiv 1801.04381; torchvision",
        params=3_504_872,
        dropout=0.2,
    )
    for size, params in _MOBILENET_V3.items():
        yield ModelInfo(
            name=f"mobilenet_v3_{size}",
            family="mobilenet_v3",
            title="MobileNetV3",
            description=f"inverted residuals with squeeze-and-excitation and hard swish, {size}",
            source="Howard et al. 2019, arXiv 1905.02244; torchvision",
            params=params,
            dropout=0.2,
            arguments={"size": size},
        )


def _timm_network(name: str) -> ModelInfo:
    return ModelInfo(
        name=name,
        family=TIMM,
        title=name.removeprefix(f"{TIMM}/"),
        description="a network of timm, which must be installed",
        source="Wightman, PyTorch Image Models (timm)",
        params=0,
        dropout=None,
        arguments={"name": name},
        stem="imagenet",
    )


def _variants(plain: Mapping[str, ModelInfo]) -> Iterator[ModelInfo]:
    for variant in VARIANTS:
        for name in variant.networks:
            yield _vary(plain[name], variant)


def _vary(plain: ModelInfo, variant: Variant) -> ModelInfo:
    info = replace(
        plain,
        name=f"{plain.name}.{variant.tag}",
        source=f"{plain.source}; {variant.source}",
        params=variant.params.get(plain.name, plain.params),
        dropout=plain.dropout if variant.dropout is None else variant.dropout,
        options=variant.options,
        tag=variant.tag,
        differs=variant.differs,
        stem=variant.stem,
    )
    same = (info.options, info.stem, info.dropout) == (plain.options, plain.stem, plain.dropout)
    if same:
        return replace(info, alias_of=plain.name, description=f"alias of {plain.name}: {variant.differs}")
    return replace(info, description=f"{plain.description}; {variant.differs}")


def _suffix(width: float) -> str:
    return f"x{width}".replace(".", "_")


_V1_NAME = re.compile(r"shufflenet_v1_g[12348]_x(0_25|0_5|0_75|1_0|1_5|2_0)")
_EXAMPLES = ("shufflenet_v2_x0_5", "mobilenet_v1_x1_0")
_PLAIN = {
    info.name: info
    for infos in (_shufflenets_v1(), _shufflenets_v2(), _mobilenets_v1(), _torchvision_networks(), _plainnets())
    for info in infos
}
_CATALOGUE = {**_PLAIN, **{info.name: info for info in _variants(_PLAIN)}}
