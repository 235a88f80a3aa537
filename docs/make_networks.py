"""Writes docs/networks.md from the registry: ``python docs/make_networks.py``. A test keeps the page true."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from featherlight.models.catalogue import ModelInfo, list_models, model_info
from featherlight.models.published import published_weights

PAGE = Path(__file__).with_name("networks.md")
MacsOf = Callable[[str], int]

# Top-1 on ImageNet in percent as the papers print it: ShuffleNetV1 Tables 2 and 5, ShuffleNetV2 Table 8, MobileNetV1
# Table 6, MobileNetV2 Table 4, MobileNetV3 Table 3. Papers that print errors: 100 minus the error.
PAPER_TOP1 = {
    "shufflenet_v1_g1_x0_25": 42.9,
    "shufflenet_v1_g3_x0_25": 45.0,
    "shufflenet_v1_g1_x0_5": 54.9,
    "shufflenet_v1_g3_x0_5": 56.8,
    "shufflenet_v1_g8_x0_5": 57.7,
    "shufflenet_v1_g1_x1_0": 66.4,
    "shufflenet_v1_g2_x1_0": 67.3,
    "shufflenet_v1_g3_x1_0": 67.4,
    "shufflenet_v1_g4_x1_0": 67.2,
    "shufflenet_v1_g8_x1_0": 67.6,
    "shufflenet_v1_g3_x1_5": 71.5,
    "shufflenet_v1_g3_x2_0": 73.7,
    "shufflenet_v2_x0_5": 60.3,
    "shufflenet_v2_x1_0": 69.4,
    "shufflenet_v2_x1_5": 72.6,
    "shufflenet_v2_x2_0": 74.9,
    "mobilenet_v1_x0_25": 50.6,
    "mobilenet_v1_x0_5": 63.7,
    "mobilenet_v1_x0_75": 68.4,
    "mobilenet_v1_x1_0": 70.6,
    "mobilenet_v2_x1_0": 72.0,
    "mobilenet_v3_small": 67.4,
    "mobilenet_v3_large": 75.2,
}
# What we reached ourselves; the commands and conditions stand in docs/results.md.
REPRODUCED = {
    "mobilenet_v1_x1_0": "CIFAR-10: 45.8 % in 10 min on one core",
    "plainnet_x0_25": "7.7 M MACs at 32 px; digits: 99.7 % in 20 s on two cores",
    "plainnet_x0_5": "29.6 M MACs at 32 px",
    "plainnet_x1_0": "118.1 M MACs at 32 px; CIFAR-10: 88.6 % in 15 min on two cores",
    "shufflenet_v2_x0_5": "CIFAR-10: 61.8 % in 10 min on one core",
    "shufflenet_v1_g3_x0_5": "CIFAR-10: 60.0 % in 10 min on one core",
}

HEAD = """# Networks

Made by `python docs/make_networks.py` from the registry.

`featherlight models` lists the same names. Parameters are counted at 1,000 classes. MACs (one multiply-add each, of
convolutions and linear layers, classifier included) are counted at 224 px; the variants marked "32 px" were published
for CIFAR and are counted there. "Paper" is the top-1 accuracy on ImageNet that the paper states; "weights" those of
published weights that `--pretrained` can fetch, as their publisher states it ([weights.md](weights.md)). "Here" is what
we measured ourselves ([results.md](results.md)); ImageNet has not been trained here.

A name with a tag is a published variant: a network of the same family that computes something else, or, where it says
"alias", the same once the channels of its weights are put in order, which happens while they are loaded.
"""


def make_page(macs_of: MacsOf) -> str:
    """The page; ``macs_of`` gives the multiply-adds of a network by its name."""
    infos = [model_info(name) for name in list_models()]
    families = groupby(sorted(infos, key=lambda info: info.title), key=lambda info: info.title)
    return "\n".join([HEAD, *(_section(title, list(members), macs_of) for title, members in families)])


def _section(title: str, infos: list[ModelInfo], macs_of: MacsOf) -> str:
    plain = [info for info in infos if not info.tag]
    variants = [info for info in infos if info.tag]
    parts = [f"## {title}\n", f"{plain[0].source}\n", _plain_table(plain, macs_of)]
    if variants:
        parts += [f"### Published variants of {title}\n", _variant_list(variants), _variant_table(variants, macs_of)]
    return "\n".join(parts)


def _plain_table(infos: Iterable[ModelInfo], macs_of: MacsOf) -> str:
    rows = [
        [
            f"`{info.name}`",
            f"{info.params:,}",
            _millions(macs_of(info.name)),
            _percent(PAPER_TOP1.get(info.name)),
            _weights(info.name),
            REPRODUCED.get(info.name, ""),
        ]
        for info in infos
    ]
    return _table(["network", "parameters", "MACs", "paper", "weights", "here"], rows)


def _variant_list(infos: Iterable[ModelInfo]) -> str:
    told: dict[str, str] = {}
    for info in infos:
        alias = " Alias of the plain network." if info.alias_of else ""
        source = info.source.partition("; ")[2]
        told.setdefault(info.tag, f"- `.{info.tag}`: {info.differs}.{alias} {source}")
    return "\n".join([*told.values(), ""])


def _variant_table(infos: Iterable[ModelInfo], macs_of: MacsOf) -> str:
    rows = [
        [
            f"`{info.name}`",
            "alias" if info.alias_of else "",
            "32 px" if info.stem == "cifar" else "",
            f"{info.params:,}",
            _millions(macs_of(info.name)),
            _weights(info.name),
        ]
        for info in infos
    ]
    return _table(["network", "", "", "parameters", "MACs", "weights"], rows)


def _weights(name: str) -> str:
    return ", ".join(f"{weights.name} {100 * weights.top1:.1f} %" for weights in published_weights(name))


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.1f} M"


def _percent(top1: float | None) -> str:
    return "" if top1 is None else f"{top1:.1f} %"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def count_macs(name: str) -> int:
    """Multiply-adds at the size that the network was published for."""
    from featherlight import profile

    return profile(name, 32 if model_info(name).stem == "cifar" else 224).macs


if __name__ == "__main__":
    PAGE.write_text(make_page(count_macs), encoding="utf-8")
