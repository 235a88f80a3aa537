"""Handwritten digits that come with the package: a real data set that needs no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.sources.arrays import array_source, array_split
from featherlight.sources.base import RGBImage, Source
from featherlight.sources.facts import pixel_hash
from featherlight.sources.splitting import split_by_hash

_SIDE = 32
_FILE = Path(__file__).parent.parent / "shipped" / "digits.npz"


def open_digits() -> Source:
    """Opens 1,797 digits of 8 x 8 pixels, scaled to 32 x 32.

    They are the test images of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI repository,
    CC BY 4.0), in scikit-learn's order.
    """
    with np.load(_FILE, allow_pickle=False) as file:
        original, labels = file["images"], file["labels"]
    images = np.stack([_enlarge(image) for image in original])
    # By pixels alone: of 8 x 8 pixels many images look alike without having anything to do with each other.
    chosen = split_by_hash([pixel_hash(image) for image in images], {"train": 0.7, "val": 0.1, "test": 0.2})
    paths = [f"digits/{index:04d}" for index in range(len(images))]
    return array_source(
        "digits",
        classes=[str(digit) for digit in range(10)],
        images=array_split(images, labels.astype(np.int64), paths),
        splits=chosen,
        flip_safe=False,
        own_splits=tuple(chosen),
    )


def _enlarge(image: NDArray[np.uint8]) -> RGBImage:
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))  # 16 grey levels above black
    return np.array(grey.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert("RGB"))
