"""Images made worse in six ways and five strengths, as cameras, networks and hands make them.

Kinds and levels are those of ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", arXiv:1903.12261). Levels for other sizes lie between the two
published sets, by the logarithm of the size. Shifts are ours.

In Pillow and NumPy, which every installation has: imagecorruptions, the library for this, needs OpenCV, scikit-image
and numba, and torchvision's transforms need torch, which an exported file does not.
"""

from __future__ import annotations

import io
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Kind = Literal["noise", "blur", "jpeg", "brightness", "contrast", "shift"]
STRENGTHS = 5
_JPEG_SIDE = 65_500  # pixels: no JPEG is longer
_SMALL, _LARGE = 32, 224  # pixels: of CIFAR-10-C and of ImageNet-C

_LEVELS: dict[Kind, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),  # standard deviation, of 1
    "blur": ((0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),  # standard deviation, pixels
    "jpeg": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),  # quality
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),  # added, of 1
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),  # what is left of it
    "shift": ((0.02, 0.04, 0.06, 0.09, 0.12), (0.02, 0.04, 0.06, 0.09, 0.12)),  # part of the shorter side
}
KINDS: tuple[Kind, ...] = tuple(_LEVELS)


def corruption_levels(kind: Kind, input_size: int) -> list[float]:
    """The five levels of a kind for a network's input size, weakest first."""
    small, large = _LEVELS[kind]
    place = math.log(input_size / _SMALL) / math.log(_LARGE / _SMALL)
    part = min(1.0, max(0.0, place))
    return [round(a + part * (b - a), 4) for a, b in zip(small, large, strict=True)]


def corrupt(image: NDArray[np.uint8], kind: Kind, level: float, seed: int = 0) -> NDArray[np.uint8]:
    """Makes an image worse; the same seed makes the same image.

    Args:
        image: uint8 (H, W, 3).
        kind: what is done to it.
        level: how much, see :func:`corruption_levels`.
        seed: of noise and of the direction of shifts.
    """
    if kind == "noise":
        noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
        return _to_bytes(image / np.float32(255) + np.float32(level) * noise)
    if kind == "blur":
        return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(level)))
    if kind == "jpeg":
        return _jpeg(image, round(level))
    if kind == "brightness":
        return _brighten(image, level)
    if kind == "contrast":
        mean = image.mean(axis=(0, 1), keepdims=True, dtype=np.float32) / 255
        return _to_bytes((image / np.float32(255) - mean) * np.float32(level) + mean)
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi)
    reach = level * min(image.shape[:2])
    return shift(image, _away(reach * math.sin(angle)), _away(reach * math.cos(angle)))


def shift(image: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """Moves an image by whole pixels; what comes in repeats the edge."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return image[rows[:, None], columns]


def _away(distance: float) -> int:
    """Rounded away from zero: on small images, too, the weakest shift moves something."""
    return int(math.copysign(math.ceil(abs(distance)), distance))


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    if max(image.shape) > _JPEG_SIDE:
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return np.array(picture)


def _brighten(image: NDArray[np.uint8], added: float) -> NDArray[np.uint8]:
    """Adds to the value of HSV, so hue and saturation stay: all channels grow by the factor that the largest does."""
    colors = image / np.float32(255)
    value = colors.max(axis=2, keepdims=True)
    wanted = np.minimum(value + np.float32(added), 1)
    return _to_bytes(np.where(value > 0, colors * wanted / np.maximum(value, 1e-6), wanted))


def _to_bytes(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray((np.clip(colors, 0, 1) * 255).round(), np.uint8)
