"""The one definition of resize, crop and normalisation; training, evaluation and prediction share it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.errors import ModelFileError, UsageError
from featherlight.images.limits import MAX_PIXELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_GRID = 16  # parts of a pixel


@dataclass(frozen=True)
class Preprocessing:
    """How an image of any size becomes a network's input; stored in the model file, the same everywhere.

    Attributes:
        input_size: side of the square input in pixels, 1 to 4096.
        resize: ``crop`` scales the shorter side to ``round(input_size / crop_fraction)`` and cuts the centre;
            ``pad`` scales the longer side to ``input_size`` and fills the rest with the mean colour;
            ``stretch`` ignores the aspect ratio. All bilinear with antialiasing.
        crop_fraction: part of the shorter side that the crop keeps, 0.001 to 1; only ``crop`` reads it.
        mean: per channel, on the scale 0 to 1; one value for grey networks, three for colour.
        std: as ``mean``.

    Raises:
        UsageError: a value is of the wrong type or out of range.
    """

    input_size: int
    resize: Literal["crop", "pad", "stretch"] = "crop"
    crop_fraction: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        problem = _find_problem({field.name: getattr(self, field.name) for field in fields(self)})
        if problem:
            raise UsageError(f"preprocessing: {problem}")

    @property
    def in_channels(self) -> int:
        """1 for grey, 3 for colour."""
        return len(self.mean)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Preprocessing:
        """Reads what :meth:`to_dict` wrote; nothing about ``values`` is taken on trust.

        Raises:
            ModelFileError: a key is unknown or missing, a value has the wrong type or range.
        """
        expected = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != expected:
            raise ModelFileError(f"preprocessing: expected exactly the fields {', '.join(sorted(expected))}")
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        problem = _find_problem(plain)
        if problem:
            raise ModelFileError(f"preprocessing: {problem}")
        return cls(**plain)


def resize_image(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Brings an image to the network's size by the stored policy.

    Args:
        image: uint8 (H, W, 3).
        preprocessing: policy and size S.

    Returns:
        uint8 (S, S, 3); ``image`` itself when there is nothing to do.
    """
    if preprocessing.resize == "pad":
        return _pad(image, preprocessing)
    if preprocessing.resize == "stretch":
        return _scale(image, preprocessing.input_size, preprocessing.input_size)
    return _crop(image, preprocessing)


def trim_image(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Leaves out what the crop never looks at: both ends of the longer side, equally much of each.

    :func:`resize_image` gives the same of it, and an exported file that resizes images itself has less to do: most of
    all with long ones, where it needs memory for ``input_size`` columns of the full length.

    Args:
        image: uint8 (H, W, 3).
        preprocessing: policy and size.

    Returns:
        A view, nearly square; with other policies ``image`` itself.
    """
    shorter, longer = sorted(image.shape[:2])
    if preprocessing.resize != "crop":
        return image
    side = crop_side(shorter, preprocessing) / CROP_GRID
    needed = max(shorter, math.ceil(side) + 2 * _margin(side, preprocessing.input_size))
    cut = max(0, (longer - needed) // 2)
    return image[cut : longer - cut] if image.shape[0] == longer else image[:, cut : longer - cut]


def normalize(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scales pixels to 0..1, subtracts the mean, divides by the standard deviation.

    Args:
        images: uint8 (N, S, S, 3).
        preprocessing: mean and std; with one channel the images become grey as Pillow's mode "L" (ITU-R 601 luma).

    Returns:
        float32 (N, C, S, S), contiguous.
    """
    channels = images if preprocessing.in_channels == 3 else _luma(images)
    result: NDArray[np.float32] = channels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    result /= 255
    result -= np.asarray(preprocessing.mean, np.float32).reshape(-1, 1, 1)
    result /= np.asarray(preprocessing.std, np.float32).reshape(-1, 1, 1)
    return result


def _crop(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Shorter side to ``round(S / crop_fraction)``, then the centre: one resize that reads only that region."""
    size = preprocessing.input_size
    height, width = image.shape[:2]
    side = crop_side(min(height, width), preprocessing) / CROP_GRID
    if height == width == size == side:
        return image
    margin = _margin(side, size)
    (top, first, last), (left, start, stop) = (_centre(length, side, margin) for length in (height, width))
    region = Image.fromarray(image[first:last, start:stop])
    box = (left, top, min(left + side, region.width), min(top + side, region.height))
    return np.array(region.resize((size, size), Image.Resampling.BILINEAR, box=box))


def crop_side(shorter: int, preprocessing: Preprocessing) -> int:
    """Side of the square that the crop keeps of an image, in whole parts of ``1 / CROP_GRID`` pixel.

    On this grid Pillow, which takes places in float32, and exported files, which compute in whole numbers, cut alike.
    """
    scaled = round(preprocessing.input_size / preprocessing.crop_fraction)
    return max(1, (2 * CROP_GRID * shorter * preprocessing.input_size + scaled) // (2 * scaled))


def _margin(side: float, size: int) -> int:
    """What the bilinear filter reads beside the region."""
    return math.ceil(max(side / size, 1)) + 1


def _centre(length: int, side: float, margin: int) -> tuple[float, int, int]:
    """Where the centred part begins within a slice of whole pixels around it, and that slice's ends."""
    begin = (length - side) / 2
    first = max(0, math.floor(begin) - margin)
    return begin - first, first, min(length, math.ceil(begin + side) + margin)


def _pad(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    size = preprocessing.input_size
    longer = max(image.shape[:2])
    height, width = (max(1, round(length * size / longer)) for length in image.shape[:2])
    scaled = _scale(image, width, height)
    if height == width == size:
        return scaled
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = np.rint(np.clip(np.asarray(preprocessing.mean) * 255, 0, 255))
    canvas[top : top + height, left : left + width] = scaled
    return canvas


def _scale(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (height, width):
        return image
    scaled = Image.fromarray(image)
    if width * scaled.height > MAX_PIXELS:  # Pillow widens before it shortens; a thread of an image would explode
        scaled = scaled.resize((scaled.width, height), Image.Resampling.BILINEAR)
    return np.array(scaled.resize((width, height), Image.Resampling.BILINEAR))


def _luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pillow's fixed-point ITU-R 601 weights, so that both give the same grey."""
    wide = images.astype(np.uint32)
    grey = (wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 0x8000) >> 16
    return grey.astype(np.uint8)[..., None]


def _find_problem(values: Mapping[str, object]) -> str | None:
    """The first thing wrong with preprocessing values of unknown origin, or None."""
    size, mean, std = values["input_size"], values["mean"], values["std"]
    if not isinstance(size, int) or not _is_number(size, 1, 4096):
        return f"input_size must be a whole number from 1 to 4096, not {size!r:.40}"
    if values["resize"] not in ("crop", "pad", "stretch"):
        return f"resize must be crop, pad or stretch, not {values['resize']!r:.40}"
    if not _is_number(values["crop_fraction"], 1e-3, 1):
        return f"crop_fraction must be from 0.001 to 1, not {values['crop_fraction']!r:.40}"
    if not isinstance(mean, tuple) or not isinstance(std, tuple) or len(mean) not in (1, 3) or len(mean) != len(std):
        return "mean and std must both be tuples of one number or three"
    if not all(_is_number(value, -1e6, 1e6) for value in mean):
        return "mean must be finite numbers"
    if not all(_is_number(value, 1e-6, 1e6) for value in std):
        return "std must be finite numbers above 0"
    return None


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
