"""What is known of networks before anything is trained: published accuracies, and about how fast they learn."""

from __future__ import annotations

from featherlight.models.catalogue import model_info
from featherlight.models.published import PUBLISHED
from featherlight.training.defaults import CIFAR_STEM_UP_TO

# ImageNet top-1 of the papers, at 224 px: Zhang et al. 2018 tables 2 and 5, Ma et al. 2018 table 8, Howard et al. 2017
# and 2019, Sandler et al. 2018. Of ShuffleNetV1 at widths 0.75, 1.5 and 2.0 only g=3 (0.75: trained by pytorchcv) is
# published; other groups are taken to differ from it as they do at width 1.
_V1 = {
    0.25: {1: 0.429, 2: 0.432, 3: 0.450, 4: 0.458, 8: 0.473},
    0.5: {1: 0.549, 2: 0.556, 3: 0.568, 4: 0.584, 8: 0.577},
    1.0: {1: 0.664, 2: 0.673, 3: 0.674, 4: 0.672, 8: 0.676},
}
_V1_G3 = {0.75: 0.628, 1.5: 0.715, 2.0: 0.737}
_OTHERS = {
    "shufflenet_v2_x0_5": 0.603, "shufflenet_v2_x1_0": 0.694, "shufflenet_v2_x1_5": 0.726, "shufflenet_v2_x2_0": 0.749,
    "mobilenet_v1_x0_25": 0.506, "mobilenet_v1_x0_5": 0.637, "mobilenet_v1_x0_75": 0.684, "mobilenet_v1_x1_0": 0.706,
    "mobilenet_v2_x1_0": 0.720, "mobilenet_v3_small": 0.674, "mobilenet_v3_large": 0.752,
}  # fmt: skip
UNKNOWN = 0.65  # of networks that no table here has
# PlainNet knows no ImageNet. For small images: what puts it where it stands beside the others on CIFAR-10.
_PLAINNET_SMALL = {0.25: 0.68, 0.5: 0.74, 1.0: 0.78}
MACS_PER_S = 20e9  # in training, forwards and backwards: a guess for a small computer, only to plan with
PIXEL_S = 3e-7  # what an image costs beside that, a pixel
IMAGES_TO_LEARN = 10_000  # images after which a network has learnt about half of what it will


def expected_top1(model: str, input_size: int = 224) -> float:
    """Published accuracy on ImageNet, a fraction; of an unknown network a middling one.

    ``input_size`` matters only for networks that were made for small images.
    """
    info = model_info(model)
    if info.family == "plainnet" and input_size <= CIFAR_STEM_UP_TO:
        return _PLAINNET_SMALL[float(info.arguments["width_mult"])]
    if info.family == "shufflenet_v1":
        groups, width = int(info.arguments["groups"]), float(info.arguments["width_mult"])
        if width in _V1:
            return _V1[width][groups]
        return round(_V1_G3[width] + _V1[1.0][groups] - _V1[1.0][3], 4)
    if info.plain in _OTHERS:
        return _OTHERS[info.plain]
    return max((weights.top1 for weights in PUBLISHED if weights.model == model), default=UNKNOWN)


def training_s(macs: int, input_size: int) -> float:
    """About how many seconds an image takes in training."""
    return 3 * macs / MACS_PER_S + PIXEL_S * input_size**2


def hope(expected: float, macs: int, input_size: int, time_s: float) -> float:
    """What a network may be worth after ``time_s`` seconds of training: accurate ones first, if there is time for them.

    Args:
        expected: published accuracy.
        macs: multiply-adds of an image.
        input_size: side of the image, pixels.
        time_s: of training.
    """
    seen = time_s / training_s(macs, input_size)
    return expected * seen / (seen + IMAGES_TO_LEARN)
