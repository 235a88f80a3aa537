"""ImageNet weights that others published: where they are, what makes sure it is them, and under which licence.

Pure data, so it works without torch. Checksums are as their publishers state them: torchvision and OpenMMLab put the
first eight or more digits of the SHA-256 into the file's name, pytorchcv lists the SHA-1 of the ``.pth`` in its zip.
Full SHA-256 and sizes are given where a further public source states them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featherlight.errors import UsageError
from featherlight.images import Preprocessing
from featherlight.models.catalogue import model_info

_TORCHVISION = "https://download.pytorch.org/models/"
_PYTORCHCV = "https://github.com/osmr/imgclsmob/releases/download/"
_OPENMMLAB = "https://download.openmmlab.com/mmclassification/v0/"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights of one network, trained on ImageNet-1k.

    Attributes:
        model: the network whose function they are.
        name: whose they are; what ``pretrained=`` takes.
        url: of the file.
        layout: how it names things, as ``load_weights`` takes it.
        licence: as its publisher states it.
        top1: published accuracy on ImageNet's 50,000 validation images, a fraction.
        sha256: of the file, or the beginning of it.
        sha1_inside: instead, of the one file in the zip.
        size_bytes: where known.
        resize: side to which the shorter side is brought before the centre of 224 px is cut.
    """

    model: str
    name: str
    url: str
    layout: str
    licence: str
    top1: float
    sha256: str = ""
    sha1_inside: str = ""
    size_bytes: int | None = None
    resize: int = 256

    @property
    def preprocessing(self) -> Preprocessing:
        """How the accuracy was measured: bilinear, centre crop, ImageNet's mean and standard deviation."""
        return Preprocessing(input_size=224, crop_fraction=224 / self.resize)

    @property
    def file_name(self) -> str:
        """Last part of the URL."""
        return self.url.rpartition("/")[2]


def published_weights(model: str) -> list[PublishedWeights]:
    """Weights for the network ``model``, the best first; empty if there are none.

    Variants that compute the same take the same weights.

    Raises:
        UsageError: there is no such network.
    """
    return [weights for weights in PUBLISHED if _function(weights.model) == _function(model)]


def find_published(model: str, name: str | None = None) -> PublishedWeights:
    """The weights called ``name`` for the network ``model``; without a name the best.

    Raises:
        UsageError: there are none; the message says which there are.
    """
    found = published_weights(model)
    for weights in found:
        if name in (None, weights.name):
            return weights
    plain = model_info(model).plain
    others = dict.fromkeys(weights.model for weights in PUBLISHED if model_info(weights.model).plain == plain)
    if found:
        hint = f"there are: {', '.join(weights.name for weights in found)}"
    elif others:
        hint = f"there are for {', '.join(others)}, a slightly different network"
    else:
        hint = "there are none; leave pretrained out to start from scratch"
    asked = f" called {name!a}" if name else ""
    raise UsageError(f"no ImageNet weights{asked} are known for {model}; {hint}")


def _function(model: str) -> tuple[object, ...]:
    info = model_info(model)
    return info.plain, info.options, info.stem


def _torchvision() -> Iterator[PublishedWeights]:
    rows = (
        ("shufflenet_v2_x0_5", "torchvision", "shufflenetv2_x0.5-f707e7126e.pth", 0.60552, "f707e7126e", None, 256),
        ("shufflenet_v2_x1_0", "torchvision", "shufflenetv2_x1-5666bf0f80.pth", 0.69362,
         "5666bf0f80d1e7f8fb61f6a65742b9c27c37f3208c1f087cdcd7c1ec1aa8b848", 9_218_294, 256),
        ("shufflenet_v2_x1_5", "torchvision", "shufflenetv2_x1_5-3c479a10.pth", 0.72996, "3c479a10", None, 232),
        ("shufflenet_v2_x2_0", "torchvision", "shufflenetv2_x2_0-8be3c8ee.pth", 0.76230, "8be3c8ee", None, 232),
        ("mobilenet_v2_x1_0", "torchvision", "mobilenet_v2-7ebf99e0.pth", 0.72154,
         "7ebf99e03e254b273379b23edca7ec0da9f48273b23a332b93c1c99d49e86e8f", 14_258_573, 232),
        ("mobilenet_v2_x1_0", "torchvision-v1", "mobilenet_v2-b0353104.pth", 0.71878, "b0353104", 14_212_972, 256),
        ("mobilenet_v3_small", "torchvision", "mobilenet_v3_small-047dcff4.pth", 0.67668,
         "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f", 10_306_551, 256),
        ("mobilenet_v3_large", "torchvision", "mobilenet_v3_large-5c1a4163.pth", 0.75274,
         "5c1a416349c4cf298f2a6a5e2600ed0ee55e604713578f5e74e6bc8bcaef7997", 22_132_113, 232),
        ("mobilenet_v3_large", "torchvision-v1", "mobilenet_v3_large-8738ca79.pth", 0.74042,
         "8738ca797c879b547d18bbd15da5736ff2557b2036a9af72225393ca61759a04", 22_139_423, 256),
    )  # fmt: skip
    ported = ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0")
    for model, name, file, top1, sha256, size, resize in rows:
        yield PublishedWeights(
            model=model,
            name=name,
            url=_TORCHVISION + file,
            layout="torchvision",
            licence="BSD-3-Clause; ported from ericsun99, BSD-2-Clause" if model in ported else "BSD-3-Clause",
            top1=top1,
            sha256=sha256,
            size_bytes=size,
            resize=resize,
        )


def _pytorchcv_shufflenets() -> Iterator[PublishedWeights]:
    rows = (
        ("g1_x0_25", "v0.0.134", "shufflenet_g1_wd4-3729", 62.44, "47dbd0f279da6d3056079bb79ad39cabbb3b9415"),
        ("g3_x0_25", "v0.0.135", "shufflenet_g3_wd4-3653", 61.74, "6abdd65e087e71f80345415cdf7ada6ed2762d60"),
        ("g1_x0_5", "v0.0.174", "shufflenet_g1_wd2-2261", 46.59, "dae4bdadd7d48bee791dff2a08cd697cff0e9320"),
        ("g3_x0_5", "v0.0.167", "shufflenet_g3_wd2-2080", 44.16, "ccaacfc8d9ac112c6143269df6e258fd55b662a7"),
        ("g1_x0_75", "v0.0.218", "shufflenet_g1_w3d4-1711", 39.58, "161cd24aa0b2e2afadafa69b44a28af222f2ec7a"),
        ("g3_x0_75", "v0.0.219", "shufflenet_g3_w3d4-1650", 38.20, "3f3b0aef0ce3174c78ff42cf6910c6e34540fc41"),
        ("g1_x1_0", "v0.0.223", "shufflenet_g1_w1-1389", 34.93, "4cfb65a30761fe548e0b5afbb5d89793ec41e4e9"),
        ("g2_x1_0", "v0.0.241", "shufflenet_g2_w1-1363", 34.25, "07256203e217a7b31f1c69a5bd38a6674bce75bc"),
        ("g3_x1_0", "v0.0.244", "shufflenet_g3_w1-1348", 34.39, "ce54f64ecff87556a4303380f46abaaf649eb308"),
        ("g4_x1_0", "v0.0.245", "shufflenet_g4_w1-1335", 34.19, "e2415f8270a4b6cbfe7dc97044d497edbc898577"),
        ("g8_x1_0", "v0.0.250", "shufflenet_g8_w1-1342", 34.06, "9a979b365424addba75c559a61a77ac7154b26eb"),
    )  # fmt: skip
    for variant, tag, file, error, sha1 in rows:
        yield _pytorchcv(f"shufflenet_v1_{variant}", tag, file, error, sha1)


def _pytorchcv_mobilenets() -> Iterator[PublishedWeights]:
    rows = (
        ("x0_25", "v0.0.62", "mobilenet_wd4-2249", 46.26, "1ad5e8fe8674cdf7ffda8450095eb96d227397e0"),
        ("x0_5", "v0.0.156", "mobilenet_wd2-1355", 34.15, "41a21242c95050407df876cfa44bb5d3676aa751"),
        ("x0_75", "v0.0.130", "mobilenet_w3d4-1076", 30.14, "d801bcaea83885b16a0306b8b77fe314bbc585c3"),
        ("x1_0", "v0.0.155", "mobilenet_w1-0895", 26.61, "7e1d739f0fd4b95c16eef077c5dc0a5bb1da8ad5"),
    )  # fmt: skip
    for width, tag, file, error, sha1 in rows:
        yield _pytorchcv(f"mobilenet_v1_{width}.pytorchcv", tag, file, error, sha1)


def _pytorchcv(model: str, tag: str, file: str, error_percent: float, sha1: str) -> PublishedWeights:
    return PublishedWeights(
        model=model,
        name="pytorchcv",
        url=f"{_PYTORCHCV}{tag}/{file}-{sha1[:8]}.pth.zip",
        layout="pytorchcv",
        licence="MIT",
        top1=round(1 - error_percent / 100, 4),
        sha1_inside=sha1,
    )


def _mmpretrain() -> Iterator[PublishedWeights]:
    yield PublishedWeights(
        model="shufflenet_v1_g3_x1_0",
        name="mmpretrain",
        url=f"{_OPENMMLAB}shufflenet_v1/shufflenet_v1_batch1024_imagenet_20200804-5d6cec73.pth",
        layout="mmpretrain",
        licence="Apache-2.0",
        top1=0.6813,
        sha256="5d6cec73",
    )


PUBLISHED = (*_torchvision(), *_mmpretrain(), *_pytorchcv_shufflenets(), *_pytorchcv_mobilenets())
