"""Cutting and mirroring a whole batch: random numbers are drawn for all images at once, then all are cut.

On the CPU images are cut one behind the other, so that each stays in the core's cache; on an accelerator in one
operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SHIFT = 1 / 8  # of the side: 4 pixels around 32, as in He et al. 2015
MIN_AREA = 0.35  # torchvision's 0.08 is for hundreds of epochs; light networks on short runs want to see the object
RATIOS = (3 / 4, 4 / 3)  # width / height of a region
_TRIES = 10  # then the whole image; with these ratios one draw in four does not fit, so that happens once in a million

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]  # N arrays (R, R, 3), or one (N, R, R, 3)
Fill = Literal["black", "reflect"]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


def draw_regions(rng: np.random.Generator, count: int, side: int, min_area: float = MIN_AREA) -> Integers:
    """Random regions of square images, distributed as those of torchvision's ``RandomResizedCrop``.

    Args:
        rng: where chance comes from.
        count: of images.
        side: of the images, pixels.
        min_area: smallest part of the image that a region has.

    Returns:
        top, left, height, width: int64 (N, 4).
    """
    area = side**2 * rng.uniform(min_area, 1, (count, _TRIES))
    ratio = np.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1]), (count, _TRIES)))
    sizes = np.rint(np.sqrt(np.stack([area / ratio, area * ratio], axis=2))).astype(np.int64)  # (N, tries, 2)
    fits = np.all((sizes > 0) & (sizes <= side), axis=2)
    chosen = sizes[np.arange(count), fits.argmax(1)]
    chosen[~np.any(fits, axis=1)] = side
    corners = np.floor(rng.random((count, 2)) * (side - chosen + 1)).astype(np.int64)
    return np.concatenate([corners, chosen], axis=1)


def draw_shifts(rng: np.random.Generator, count: int, pad: int) -> Integers:
    """Where windows begin in images with ``pad`` pixels around: row, column, int64 (N, 2)."""
    return rng.integers(0, 2 * pad + 1, (count, 2))


def pad_of(size: int, shift: float = SHIFT) -> int:
    """Pixels that come around an image before it is shifted: ``shift`` of its side, at least one unless that is 0."""
    return max(1, round(size * shift)) if shift > 0 and size > 1 else 0


def cut_regions(images: Images, regions: Integers, mirrored: Flags, size: int) -> NDArray[np.uint8]:
    """Each image's region, scaled to uint8 (N, S, S, 3) and mirrored if its flag is set."""
    cut = np.empty((len(images), size, size, 3), np.uint8)
    for k, (top, left, height, width) in enumerate(regions.tolist()):
        scaled = _scale(images[k][top : top + height, left : left + width], size, size)
        cut[k] = _as_array(scaled.flip(3) if mirrored[k] else scaled)
    return cut


def cut_shifted(images: Images, shifts: Integers, mirrored: Flags, pad: int, fill: Fill) -> NDArray[np.uint8]:
    """Windows of images with ``pad`` pixels around, uint8 (N, S, S, 3), mirrored where the flag is set.

    They are ``black``, or the image mirrored at its outermost pixels (``reflect``).
    """
    count, size = len(images), len(images[0])
    canvas = np.zeros((count, size + 2 * pad, size + 2 * pad, 3), np.uint8)
    for k, image in enumerate(images):
        canvas[k, pad : pad + size, pad : pad + size] = image
    if fill == "reflect":
        for outside, inside in _reflections(size, pad):
            canvas[:, outside] = canvas[:, inside]
        for outside, inside in _reflections(size, pad):
            canvas[:, :, outside] = canvas[:, :, inside]
    rows = canvas.reshape(count, size + 2 * pad, -1)  # a window's rows lie together in memory: blocks are copied
    windows = np.lib.stride_tricks.sliding_window_view(rows, (size, 3 * size), axis=(1, 2))
    cut = windows[np.arange(count), shifts[:, 0], 3 * shifts[:, 1]]
    return mirror(cut.reshape(count, size, size, 3), mirrored)


def _reflections(size: int, pad: int) -> list[tuple[int, int]]:
    """Rows of the canvas outside the image, and those inside that they repeat."""
    first, last = pad, pad + size - 1
    pairs = [((first - k, first + k), (last + k, last - k)) for k in range(1, pad + 1)]
    return [pair for both in pairs for pair in both]


def mirror(images: NDArray[np.uint8], mirrored: Flags) -> NDArray[np.uint8]:
    """Mirrors those images (N, H, W, 3) whose flag is set, in place."""
    chosen = torch.from_numpy(images[mirrored]).permute(0, 3, 1, 2)  # channels last: flip has a fast way for it
    images[mirrored] = chosen.flip(3).permute(0, 2, 3, 1).numpy()
    return images


def cut_regions_on_device(images: Tensor, regions: Integers, mirrored: Flags, size: int) -> Tensor:
    """As :func:`cut_regions`, for a batch (N, R, R, 3) on an accelerator, in one operation.

    Bilinear without antialiasing. Stored images are at most 8/7 of the input size, so little is lost by it.
    """
    side = images.shape[1]
    rows, columns = (
        torch.from_numpy(_places(regions[:, k], regions[:, k + 2], size) * (2 / side) - 1).to(images.device)
        for k in (0, 1)
    )
    columns = torch.where(torch.from_numpy(mirrored).to(images.device)[:, None], columns.flip(1), columns)
    across, down = columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)
    pixels = images.permute(0, 3, 1, 2).float()
    cut = F.grid_sample(pixels, torch.stack([across, down], dim=3), mode="bilinear", align_corners=False)
    return cut.round().to(torch.uint8).permute(0, 2, 3, 1)


def _places(first: Integers, length: Integers, size: int) -> NDArray[np.float32]:
    """Where along one side each pixel of the result lies in the image; never beside the region. float32 (N, S)."""
    steps = (np.arange(size) + 0.5) / size
    places = first[:, None] + np.clip(steps * length[:, None], 0.5, length[:, None] - 0.5)
    return places.astype(np.float32)


def cut_shifted_on_device(images: Tensor, shifts: Integers, mirrored: Flags, pad: int, fill: Fill) -> Tensor:
    """As :func:`cut_shifted`, for a batch (N, S, S, 3) on an accelerator: one gather, with the same result."""
    count, size = images.shape[:2]
    steps = np.arange(size)
    rows, columns = shifts[:, :1] + steps, shifts[:, 1:] + np.where(mirrored[:, None], steps[::-1], steps)
    if fill == "reflect":
        rows, columns = (size - 1 - np.abs(size - 1 - np.abs(places - pad)) for places in (rows, columns))
    else:
        images = F.pad(images, (0, 0, pad, pad, pad, pad))
    down, across = (torch.from_numpy(places).to(images.device) for places in (rows, columns))
    return images[torch.arange(count, device=images.device)[:, None, None], down[:, :, None], across[:, None, :]]


def mirror_on_device(images: Tensor, mirrored: Flags) -> Tensor:
    """As :func:`mirror`, on an accelerator, not in place."""
    flags = torch.from_numpy(mirrored).to(images.device)
    return torch.where(flags[:, None, None, None], images.flip(2), images)


def scale_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear with antialiasing, by PyTorch's vectorised filter: within one grey level of Pillow's, much faster."""
    return _as_array(_scale(image, height, width))


def _scale(image: NDArray[np.uint8], height: int, width: int) -> Tensor:
    pixels = _as_tensor(image.copy())  # in one piece and writable, which regions of stored images are not
    if image.shape[:2] == (height, width):
        return pixels
    return F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)


def _as_tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # (1, 3, H, W), channels last: the fast way through


def _as_array(image: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = image[0].permute(1, 2, 0).numpy()
    return array
