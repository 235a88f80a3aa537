"""The handwritten digits that ship with scikit-learn: a real data set that needs no download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from featherlight.errors import MissingExtraError
from featherlight.sources.arrays import array_source, array_split
from featherlight.sources.base import RGBImage, Source
from featherlight.sources.facts import pixel_hash
from featherlight.sources.splitting import split_by_hash

_SIDE = 32


def open_digits() -> Source:
    """Opens 1,797 digits of 8 x 8 pixels, scaled to 32 x 32 (Alpaydin and Kaynak 1998, UCI repository).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "train", "the digits data") from error
    digits = load_digits()
    images = np.stack([_enlarge(image) for image in digits.images])
    # By pixels alone: of 8 x 8 pixels many images look alike without having anything to do with each other.
    chosen = split_by_hash([pixel_hash(image) for image in images], {"train": 0.7, "val": 0.1, "test": 0.2})
    paths = [f"digits/{index:04d}" for index in range(len(images))]
    return array_source(
        "digits",
        classes=[str(digit) for digit in range(10)],
        images=array_split(images, digits.target.astype(np.int64), paths),
        splits=chosen,
        flip_safe=False,
        own_splits=tuple(chosen),
    )


def _enlarge(image: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> RGBImage:
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))  # 16 grey levels above black
    return np.array(grey.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert("RGB"))
