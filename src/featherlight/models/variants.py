"""Published variants: who published what under which tag, and how it differs from the family's own network.

The facts were read off each implementation by running it. A variant whose options are the family's own computes
exactly what the plain network computes, once its weights are in our order of channels: it is an alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from featherlight.models.options import MobileNetV1Options, Options, ShuffleNetV1Options, ShuffleNetV2Options


@dataclass(frozen=True)
class Variant:
    """One implementation's version of some networks of a family.

    Attributes:
        tag: what stands behind the dot, for example ``jaxony``.
        source: where it was published.
        differs: what it does differently, for people.
        networks: the plain networks that it has a version of.
        options: of its networks.
        params: network -> trainable parameters at 1000 classes, where they are not the plain network's.
        stem: where the published network has the same one for all image sizes.
        dropout: probability before the classifier, where it has one.
    """

    tag: str
    source: str
    differs: str
    networks: tuple[str, ...]
    options: Options
    params: Mapping[str, int] = field(default_factory=dict)
    stem: Literal["imagenet", "cifar"] | None = None
    dropout: float | None = None


def _v1(*groups_and_widths: str) -> tuple[str, ...]:
    """``_v1("1 x1_0 x2_0")`` -> names with 1 group and these widths."""
    names = [text.split() for text in groups_and_widths]
    return tuple(f"shufflenet_v1_g{groups}_{width}" for groups, *widths in names for width in widths)


# Megvii's widths. With 8 groups below x2_0 no order of channels turns one shuffle into its inverse, so it is an option.
_REORDERED = _v1("3 x0_5 x1_0 x1_5 x2_0", "8 x2_0")
_INVERSE = _v1("8 x0_5 x1_0 x1_5")
_V1_NO_BIAS = {
    "shufflenet_v1_g3_x0_5": 717_324,
    "shufflenet_v1_g3_x1_0": 1_864_728,
    "shufflenet_v1_g3_x1_5": 3_441_168,
    "shufflenet_v1_g3_x2_0": 5_449_776,
    "shufflenet_v1_g8_x0_5": 1_010_448,
    "shufflenet_v1_g8_x1_0": 2_433_768,
    "shufflenet_v1_g8_x1_5": 4_268_952,
    "shufflenet_v1_g8_x2_0": 6_521_232,
}
_MINDSPORE = "MindSpore's course notes on ShuffleNet (昇思25天学习打卡营第8天)"
_MINDCV = "mindspore-lab/mindcv, models/shufflenetv1.py"
_MEGVII_V1 = "megvii-model/ShuffleNet-Series, ShuffleNetV1"
_MEGVII_V2 = "megvii-model/ShuffleNet-Series, ShuffleNetV2"
_JAXONY = "jaxony/ShuffleNet, model.py"
_PYTORCHCV_V2 = "osmr/pytorchcv, models/shufflenetv2.py"
_PYTORCHCV_V2B = "osmr/pytorchcv, models/shufflenetv2b.py"
_SAME_POOLS = "poolings with `same` padding, which averages do not count"
_BIASED = (
    "convolutions with bias, first one without norm and ReLU. The repository returns log_softmax of these logits, as "
    "does options={'output': 'log_softmax'}"
)

_SHUFFLENETS_V1 = (
    Variant("mindspore", _MINDSPORE, _SAME_POOLS, _REORDERED, ShuffleNetV1Options(pool_padding="same")),
    Variant(
        "mindspore",
        _MINDSPORE,
        f"{_SAME_POOLS}; inverse shuffle",
        _INVERSE,
        ShuffleNetV1Options(pool_padding="same", shuffle="inverse"),
    ),
    Variant(
        "mindcv",
        _MINDCV,
        f"{_SAME_POOLS}; classifier without bias",
        _REORDERED,
        ShuffleNetV1Options(pool_padding="same", classifier_bias=False),
        _V1_NO_BIAS,
    ),
    Variant(
        "mindcv",
        _MINDCV,
        f"{_SAME_POOLS}; classifier without bias; inverse shuffle",
        _INVERSE,
        ShuffleNetV1Options(pool_padding="same", classifier_bias=False, shuffle="inverse"),
        _V1_NO_BIAS,
    ),
    Variant(
        "megvii",
        _MEGVII_V1,
        "classifier without bias",
        _REORDERED,
        ShuffleNetV1Options(classifier_bias=False),
        _V1_NO_BIAS,
    ),
    Variant(
        "megvii",
        _MEGVII_V1,
        "classifier without bias; inverse shuffle",
        _INVERSE,
        ShuffleNetV1Options(classifier_bias=False, shuffle="inverse"),
        _V1_NO_BIAS,
    ),
    Variant(
        "jaxony",
        _JAXONY,
        f"567 channels in the end, a typo for 576; {_BIASED}",
        _v1("1 x1_0"),
        ShuffleNetV1Options(conv_bias=True, stem_norm=False, stage4=567),
        {"shufflenet_v1_g1_x1_0": 1_508_965},
    ),
    Variant(
        "jaxony",
        _JAXONY,
        _BIASED,
        _v1("2 x1_0", "3 x1_0", "4 x1_0", "8 x1_0"),
        ShuffleNetV1Options(conv_bias=True, stem_norm=False),
        {
            "shufflenet_v1_g2_x1_0": 1_744_000,
            "shufflenet_v1_g3_x1_0": 1_877_920,
            "shufflenet_v1_g4_x1_0": 1_982_168,
            "shufflenet_v1_g8_x1_0": 2_454_304,
        },
    ),
    Variant(
        "kuangliu",
        "kuangliu/pytorch-cifar, models/shufflenet.py",
        "for CIFAR: 1x1 first convolution, no pooling behind it; ReLU after the depthwise convolution; middle of "
        "stride-2 units is a quarter of the branch",
        _v1("2 x1_0", "3 x1_0"),
        ShuffleNetV1Options(middle="branch", depthwise_activation=True, stem_kernel=1),
        {"shufflenet_v1_g2_x1_0": 1_680_572, "shufflenet_v1_g3_x1_0": 1_814_158},
        stem="cifar",
    ),
    Variant(
        "mmpretrain",
        "open-mmlab/mmpretrain, models/backbones/shufflenet_v1.py",
        "order only: shuffle after the depthwise convolution",
        _v1("1 x0_5 x1_0 x2_0", "2 x1_0 x2_0", "3 x0_5 x1_0 x2_0", "4 x1_0 x2_0", "8 x1_0 x2_0"),
        ShuffleNetV1Options(),
    ),
    Variant(
        "pytorchcv",
        "osmr/pytorchcv, models/shufflenet.py",
        "order only: stride-2 units concatenate the branch first",
        _v1("1 x0_25 x0_5 x0_75 x1_0", "2 x1_0", "3 x0_25 x0_5 x0_75 x1_0", "4 x1_0", "8 x1_0"),
        ShuffleNetV1Options(),
    ),
)
_SHUFFLENETS_V2 = (
    Variant(
        "keras",
        "article on training ShuffleNetV2 in Keras (有关利用ShuffleNetV2网络训练模型的问题)",
        "`same` padding; first and last convolution with bias, without norm and ReLU; shortcut of stride-2 units keeps "
        "its channels and the branch's middle is half of the input; norm epsilon 0.001; dropout 0.5",
        ("shufflenet_v2_x1_0",),
        ShuffleNetV2Options(
            shortcut="input",
            middle="input",
            stem_norm=False,
            last_norm=False,
            padding="same",
            pool_padding="same",
            norm_eps=1e-3,
        ),
        {"shufflenet_v2_x1_0": 2_203_236},
        dropout=0.5,
    ),
    Variant(
        "megvii",
        _MEGVII_V2,
        "classifier without bias",
        ("shufflenet_v2_x0_5",),
        ShuffleNetV2Options(classifier_bias=False),
        {"shufflenet_v2_x0_5": 1_365_792},
    ),
    Variant(
        "megvii",
        _MEGVII_V2,
        "classifier without bias; shortcut of stride-2 units keeps its channels; inverse shuffle",
        ("shufflenet_v2_x1_0", "shufflenet_v2_x1_5"),
        ShuffleNetV2Options(classifier_bias=False, shortcut="input", shuffle="inverse"),
        {"shufflenet_v2_x1_0": 2_278_760, "shufflenet_v2_x1_5": 3_506_720},
    ),
    Variant(
        "megvii",
        _MEGVII_V2,
        "classifier without bias; shortcut of stride-2 units keeps its channels; inverse shuffle; dropout 0.2",
        ("shufflenet_v2_x2_0",),
        ShuffleNetV2Options(classifier_bias=False, shortcut="input", shuffle="inverse"),
        {"shufflenet_v2_x2_0": 7_402_600},
        dropout=0.2,
    ),
    Variant(
        "pytorchcv",
        _PYTORCHCV_V2,
        "pooling in the stem without padding, rounding up",
        ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
        ShuffleNetV2Options(pool_padding="ceil"),
    ),
    Variant(
        "pytorchcv",
        _PYTORCHCV_V2,
        "pooling in the stem without padding, rounding up; 1553 channels in the end",
        ("shufflenet_v2_x1_5",),
        ShuffleNetV2Options(pool_padding="ceil", last_channels=1553),
        {"shufflenet_v2_x1_5": 4_406_098},
    ),
    Variant(
        "pytorchcv",
        _PYTORCHCV_V2,
        "pooling in the stem without padding, rounding up; 2153 channels in the end",
        ("shufflenet_v2_x2_0",),
        ShuffleNetV2Options(pool_padding="ceil", last_channels=2153),
        {"shufflenet_v2_x2_0": 7_601_686},
    ),
    Variant("pytorchcv_b", _PYTORCHCV_V2B, "nothing but names", ("shufflenet_v2_x0_5",), ShuffleNetV2Options()),
    Variant(
        "pytorchcv_b",
        _PYTORCHCV_V2B,
        "shortcut of stride-2 units keeps its channels",
        ("shufflenet_v2_x1_0",),
        ShuffleNetV2Options(shortcut="input"),
        {"shufflenet_v2_x1_0": 2_279_760},
    ),
    Variant(
        "pytorchcv_b",
        _PYTORCHCV_V2B,
        "shortcut of stride-2 units keeps its channels; 1553 channels in the end",
        ("shufflenet_v2_x1_5",),
        ShuffleNetV2Options(shortcut="input", last_channels=1553),
        {"shufflenet_v2_x1_5": 4_410_194},
    ),
    Variant(
        "pytorchcv_b",
        _PYTORCHCV_V2B,
        "shortcut of stride-2 units keeps its channels; 2153 channels in the end",
        ("shufflenet_v2_x2_0",),
        ShuffleNetV2Options(shortcut="input", last_channels=2153),
        {"shufflenet_v2_x2_0": 7_611_290},
    ),
)
_MOBILENETS_V1 = (
    Variant(
        "ascend",
        "Ascend course on MobileNetV1 for CIFAR-10 (PyTorch 实现MobileNetV1用于图像分类)",
        "for CIFAR: stride 1 in the first convolution; returns softmax, to which its training applies softmax once "
        "more. The plain network takes the same weights and returns logits",
        ("mobilenet_v1_x1_0",),
        MobileNetV1Options(output="softmax"),
        stem="cifar",
    ),
    Variant(
        "timm",
        "huggingface/pytorch-image-models, mobilenetv1_100",
        "nothing but names",
        ("mobilenet_v1_x1_0",),
        MobileNetV1Options(),
    ),
    Variant(
        "kuangliu",
        "kuangliu/pytorch-cifar, models/mobilenet.py",
        "for CIFAR: stride 1 in the first convolution; ReLU in place of ReLU6",
        ("mobilenet_v1_x1_0",),
        MobileNetV1Options(activation="relu"),
        stem="cifar",
    ),
    *(
        Variant(
            tag,
            source,
            "ReLU in place of ReLU6",
            ("mobilenet_v1_x0_25", "mobilenet_v1_x0_5", "mobilenet_v1_x0_75", "mobilenet_v1_x1_0"),
            MobileNetV1Options(activation="relu"),
        )
        for tag, source in (
            ("pytorchcv", "osmr/pytorchcv, models/mobilenet.py"),
            ("mindcv", "mindspore-lab/mindcv, models/mobilenetv1.py"),
        )
    ),
)
VARIANTS = (*_SHUFFLENETS_V1, *_SHUFFLENETS_V2, *_MOBILENETS_V1)
