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
        special: network -> options, where they are not ``options``.
        params: network -> trainable parameters at 1000 classes, where they are not the plain network's.
        stem: where the published network has the same one for all image sizes.
        dropout: network -> probability before the classifier, where it has one.
    """

    tag: str
    source: str
    differs: str
    networks: tuple[str, ...]
    options: Options
    special: Mapping[str, Options] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)
    stem: Literal["imagenet", "cifar"] | None = None
    dropout: Mapping[str, float] = field(default_factory=dict)


def _v1(*groups_and_widths: str) -> tuple[str, ...]:
    """``_v1("1 x1_0 x2_0")`` -> names with 1 group and these widths."""
    names = [text.split() for text in groups_and_widths]
    return tuple(f"shufflenet_v1_g{groups}_{width}" for groups, *widths in names for width in widths)


_V1_ALL_G = _v1("1 x1_0", "2 x1_0", "3 x1_0", "4 x1_0", "8 x1_0")
_V1_MEGVII = _v1("3 x0_5 x1_0 x1_5 x2_0", "8 x0_5 x1_0 x1_5 x2_0")
_V1_NO_BIAS = dict(
    zip(
        _V1_MEGVII,
        (717_324, 1_864_728, 3_441_168, 5_449_776, 1_010_448, 2_433_768, 4_268_952, 6_521_232),
        strict=True,
    )
)
# Where 64 does not divide the channels in the middle, no order of channels turns one shuffle into its inverse.
_V1_INVERSE = _v1("8 x0_5 x1_0 x1_5")
_V1_INVERSE_NOTE = "; inverse shuffle with 8 groups below x2_0 (elsewhere the shuffles differ in order only)"
_V2_ALL = ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0")
_MOBILENET_V1 = ("mobilenet_v1_x0_25", "mobilenet_v1_x0_5", "mobilenet_v1_x0_75", "mobilenet_v1_x1_0")


VARIANTS = (
    Variant(
        tag="mindspore",
        source="MindSpore's course notes on ShuffleNet (昇思25天学习打卡营第8天)",
        differs="poolings with `same` padding, which an average does not count" + _V1_INVERSE_NOTE,
        networks=_V1_MEGVII,
        options=ShuffleNetV1Options(pool_padding="same"),
        special=dict.fromkeys(_V1_INVERSE, ShuffleNetV1Options(pool_padding="same", shuffle="inverse")),
    ),
    Variant(
        tag="mindcv",
        source="mindspore-lab/mindcv, models/shufflenetv1.py",
        differs="poolings with `same` padding, which an average does not count; classifier without bias"
        + _V1_INVERSE_NOTE,
        networks=_V1_MEGVII,
        options=ShuffleNetV1Options(pool_padding="same", classifier_bias=False),
        special=dict.fromkeys(
            _V1_INVERSE, ShuffleNetV1Options(pool_padding="same", classifier_bias=False, shuffle="inverse")
        ),
        params=_V1_NO_BIAS,
    ),
    Variant(
        tag="megvii",
        source="megvii-model/ShuffleNet-Series, ShuffleNetV1",
        differs="classifier without bias" + _V1_INVERSE_NOTE,
        networks=_V1_MEGVII,
        options=ShuffleNetV1Options(classifier_bias=False),
        special=dict.fromkeys(_V1_INVERSE, ShuffleNetV1Options(classifier_bias=False, shuffle="inverse")),
        params=_V1_NO_BIAS,
    ),
    Variant(
        tag="jaxony",
        source="jaxony/ShuffleNet, model.py",
        differs="convolutions with bias; first one without norm and ReLU; 567 channels in the end with 1 group (a "
        "typo for 576). The repository returns log_softmax of these logits: options={'output': 'log_softmax'}",
        networks=_V1_ALL_G,
        options=ShuffleNetV1Options(conv_bias=True, stem_norm=False),
        special={"shufflenet_v1_g1_x1_0": ShuffleNetV1Options(conv_bias=True, stem_norm=False, stage4=567)},
        params=dict(zip(_V1_ALL_G, (1_508_965, 1_744_000, 1_877_920, 1_982_168, 2_454_304), strict=True)),
    ),
    Variant(
        tag="kuangliu",
        source="kuangliu/pytorch-cifar, models/shufflenet.py",
        differs="for CIFAR: 1x1 first convolution, no pooling behind it; ReLU after the depthwise convolution; the "
        "middle of stride-2 units is a quarter of the branch",
        networks=_v1("2 x1_0", "3 x1_0"),
        options=ShuffleNetV1Options(middle="branch", depthwise_activation=True, stem_kernel=1),
        params={"shufflenet_v1_g2_x1_0": 1_680_572, "shufflenet_v1_g3_x1_0": 1_814_158},
        stem="cifar",
    ),
    Variant(
        tag="mmpretrain",
        source="open-mmlab/mmpretrain, models/backbones/shufflenet_v1.py",
        differs="order only: shuffle after the depthwise convolution",
        networks=_v1("1 x0_5 x1_0 x2_0", "2 x1_0 x2_0", "3 x0_5 x1_0 x2_0", "4 x1_0 x2_0", "8 x1_0 x2_0"),
        options=ShuffleNetV1Options(),
    ),
    Variant(
        tag="pytorchcv",
        source="osmr/pytorchcv, models/shufflenet.py",
        differs="order only: stride-2 units concatenate the branch first",
        networks=_v1("1 x0_25 x0_5 x0_75 x1_0", "2 x1_0", "3 x0_25 x0_5 x0_75 x1_0", "4 x1_0", "8 x1_0"),
        options=ShuffleNetV1Options(),
    ),
    Variant(
        tag="keras",
        source="article on training ShuffleNetV2 in Keras (有关利用ShuffleNetV2网络训练模型的问题)",
        differs="`same` padding; first and last convolution with bias, without norm and ReLU; shortcut of stride-2 "
        "units keeps its channels and the branch's middle is half of the input; norm epsilon 0.001; dropout 0.5",
        networks=("shufflenet_v2_x1_0",),
        options=ShuffleNetV2Options(
            shortcut="input",
            middle="input",
            stem_norm=False,
            last_norm=False,
            padding="same",
            pool_padding="same",
            norm_eps=1e-3,
        ),
        params={"shufflenet_v2_x1_0": 2_203_236},
        dropout={"shufflenet_v2_x1_0": 0.5},
    ),
    Variant(
        tag="megvii",
        source="megvii-model/ShuffleNet-Series, ShuffleNetV2",
        differs="classifier without bias; from x1_0 on the shortcut of stride-2 units keeps its channels and the "
        "shuffle is inverse (at x0_5 that is an order only); dropout 0.2 in x2_0",
        networks=_V2_ALL,
        options=ShuffleNetV2Options(classifier_bias=False, shortcut="input", shuffle="inverse"),
        special={"shufflenet_v2_x0_5": ShuffleNetV2Options(classifier_bias=False)},
        params=dict(zip(_V2_ALL, (1_365_792, 2_278_760, 3_506_720, 7_402_600), strict=True)),
        dropout={"shufflenet_v2_x2_0": 0.2},
    ),
    Variant(
        tag="pytorchcv",
        source="osmr/pytorchcv, models/shufflenetv2.py",
        differs="pooling in the stem without padding, rounding up; 1553 and 2153 channels in the end at x1_5, x2_0",
        networks=_V2_ALL,
        options=ShuffleNetV2Options(pool_padding="ceil"),
        special={
            "shufflenet_v2_x1_5": ShuffleNetV2Options(pool_padding="ceil", last_channels=1553),
            "shufflenet_v2_x2_0": ShuffleNetV2Options(pool_padding="ceil", last_channels=2153),
        },
        params={"shufflenet_v2_x1_5": 4_406_098, "shufflenet_v2_x2_0": 7_601_686},
    ),
    Variant(
        tag="pytorchcv_b",
        source="osmr/pytorchcv, models/shufflenetv2b.py",
        differs="shortcut of stride-2 units keeps its channels; 1553 and 2153 channels in the end at x1_5, x2_0",
        networks=_V2_ALL,
        options=ShuffleNetV2Options(shortcut="input"),
        special={
            "shufflenet_v2_x0_5": ShuffleNetV2Options(),
            "shufflenet_v2_x1_5": ShuffleNetV2Options(shortcut="input", last_channels=1553),
            "shufflenet_v2_x2_0": ShuffleNetV2Options(shortcut="input", last_channels=2153),
        },
        params=dict(zip(_V2_ALL, (1_366_792, 2_279_760, 4_410_194, 7_611_290), strict=True)),
    ),
    Variant(
        tag="ascend",
        source="Ascend course on MobileNetV1 for CIFAR-10 (PyTorch 实现MobileNetV1用于图像分类)",
        differs="for CIFAR: stride 1 in the first convolution; returns softmax, to which its training applies softmax "
        "once more. The plain network takes the same weights and returns logits",
        networks=("mobilenet_v1_x1_0",),
        options=MobileNetV1Options(output="softmax"),
        stem="cifar",
    ),
    Variant(
        tag="timm",
        source="huggingface/pytorch-image-models, mobilenetv1_100",
        differs="nothing but names",
        networks=("mobilenet_v1_x1_0",),
        options=MobileNetV1Options(),
    ),
    Variant(
        tag="pytorchcv",
        source="osmr/pytorchcv, models/mobilenet.py",
        differs="ReLU in place of ReLU6",
        networks=_MOBILENET_V1,
        options=MobileNetV1Options(activation="relu"),
    ),
    Variant(
        tag="kuangliu",
        source="kuangliu/pytorch-cifar, models/mobilenet.py",
        differs="for CIFAR: stride 1 in the first convolution; ReLU in place of ReLU6",
        networks=("mobilenet_v1_x1_0",),
        options=MobileNetV1Options(activation="relu"),
        stem="cifar",
    ),
    Variant(
        tag="mindcv",
        source="mindspore-lab/mindcv, models/mobilenetv1.py",
        differs="ReLU in place of ReLU6",
        networks=_MOBILENET_V1,
        options=MobileNetV1Options(activation="relu"),
    ),
)
