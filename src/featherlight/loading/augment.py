"""Augmentation by the batch: what a network sees is never twice the same.

Everything random comes from the generator handed in, so that a batch depends on (seed, epoch, number) alone and
training can be taken up again at any step with the same bits. PyTorch's own generator is left to the network: batches
are prepared in other threads while it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featherlight.loading import crops
from featherlight.loading.auto_augment import Policy, auto_augment
from featherlight.loading.color_jitter import color_jitter
from featherlight.loading.trivial import trivial_augment

Crop = Literal["pad", "resized", "none"]


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        size: of the network's input, pixels.
        crop: ``pad`` shifts by up to ``shift``, ``resized`` cuts a random region and scales it, ``none`` resizes.
        flip: mirrors half of the images.
        trivial_augment: one random operation of random strength per image (Mueller & Hutter 2021).
        mixup: parameter of the Beta distribution of Zhang et al. 2018; 0 is off.
        cutmix: likewise of Yun et al. 2019; with both on, each batch draws one of them.
        num_classes: of the targets.
        crop_area: smallest part of the image that a random region has.
        auto_augment: two operations an image, by this policy of Cubuk et al. 2019.
        color_jitter: brightness, contrast and saturation change by up to this part; 0 is off.
        random_erasing: probability that a rectangle is set to the mean colour (Zhong et al. 2020).
        alternating_flip: each image is mirrored in every second epoch, not by chance (Jordan 2024); see
            :func:`flips_in_turn`.
        shift: by how much of its side an image is shifted at most.
        shift_fill: what comes in from outside of a shifted image.
    """

    size: int
    crop: Crop
    flip: bool
    trivial_augment: bool
    mixup: float
    cutmix: float
    num_classes: int
    crop_area: float = crops.MIN_AREA
    auto_augment: Policy = "none"
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    alternating_flip: bool = False
    shift: float = crops.SHIFT
    shift_fill: crops.Fill = "black"


def random_seed_for(*parts: int) -> int:
    """Mixes numbers (seed, epoch, position) into one seed (splitmix64)."""
    state = 0
    for part in parts:
        state = (state ^ (part & (2**64 - 1))) * 0x9E3779B97F4A7C15 % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


def flips_in_turn(members: NDArray[np.int64], seed: int, epoch: int) -> crops.Flags:
    """Which of these images are mirrored in an epoch: chance decides on the first one, and then they take turns.

    So two epochs show every image both ways, where chance would show half of them one way only.
    """
    state = (members.astype(np.uint64) ^ np.uint64(random_seed_for(seed))) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return (state >> np.uint64(63)).astype(bool) ^ bool(epoch % 2)


def augment_batch(
    images: crops.Images,
    augmentation: Augmentation,
    rng: np.random.Generator,
    device: torch.device,
    in_turn: crops.Flags | None = None,
) -> Tensor:
    """Everything but erasing and mixing: stored images to uint8 (N, S, S, 3) on the device.

    Args:
        images: N stored images, uint8 (R, R, 3).
        augmentation: what to do.
        rng: where chance comes from.
        device: an accelerator is sent the stored images and augments them itself.
        in_turn: which images to mirror, where flips alternate; None: chance decides.
    """
    mirrored = rng.random(len(images)) < (0.5 if augmentation.flip else 0)
    if augmentation.flip and augmentation.alternating_flip and in_turn is not None:
        mirrored = in_turn
    if device.type == "cpu":
        cut = torch.from_numpy(_crop(images, augmentation, mirrored, rng))
    else:
        sent = torch.from_numpy(np.stack(list(images))).to(device)
        cut = crop_on_device(sent, augmentation, mirrored, rng)
    if augmentation.trivial_augment:
        cut = trivial_augment(cut, rng)
    if augmentation.auto_augment != "none":
        cut = auto_augment(cut, augmentation.auto_augment, rng)
    return color_jitter(cut, augmentation.color_jitter, rng) if augmentation.color_jitter > 0 else cut


def _crop(
    images: crops.Images, augmentation: Augmentation, mirrored: crops.Flags, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if augmentation.crop == "pad":
        pad = crops.pad_of(augmentation.size, augmentation.shift)
        shifts = crops.draw_shifts(rng, len(images), pad)
        return crops.cut_shifted(images, shifts, mirrored, pad, augmentation.shift_fill)
    if augmentation.crop == "resized":
        regions = crops.draw_regions(rng, len(images), len(images[0]), augmentation.crop_area)
        return crops.cut_regions(images, regions, mirrored, augmentation.size)
    return crops.mirror(np.stack(list(images)), mirrored)


def crop_on_device(
    images: Tensor, augmentation: Augmentation, mirrored: crops.Flags, rng: np.random.Generator
) -> Tensor:
    """What is done on an accelerator: uint8 (N, R, R, 3) to (N, S, S, 3), with the random numbers of the CPU."""
    if augmentation.crop == "pad":
        pad = crops.pad_of(augmentation.size, augmentation.shift)
        shifts = crops.draw_shifts(rng, len(images), pad)
        return crops.cut_shifted_on_device(images, shifts, mirrored, pad, augmentation.shift_fill)
    if augmentation.crop == "resized":
        regions = crops.draw_regions(rng, len(images), images.shape[1], augmentation.crop_area)
        return crops.cut_regions_on_device(images, regions, mirrored, augmentation.size)
    return crops.mirror_on_device(images, mirrored)


def mix_batch(images: Tensor, labels: Tensor, augmentation: Augmentation) -> tuple[Tensor, Tensor]:
    """Erasing, then mixup or CutMix, on normalised images (N, C, S, S).

    Chance comes from PyTorch's own generator. Labels become probabilities (N, num_classes) when mixing is on.
    """
    if augmentation.random_erasing > 0:
        images = _erase(images, augmentation.random_erasing)
    if augmentation.mixup == augmentation.cutmix == 0:
        return images, labels
    from torchvision.transforms import v2

    choices = [
        transform(alpha=alpha, num_classes=augmentation.num_classes)
        for transform, alpha in ((v2.MixUp, augmentation.mixup), (v2.CutMix, augmentation.cutmix))
        if alpha > 0
    ]
    mixed, targets = choices[int(torch.randint(len(choices), ()))](images, labels)
    return mixed.contiguous(memory_format=torch.channels_last), targets


def _erase(images: Tensor, probability: float) -> Tensor:
    """A rectangle of some images becomes 0, which is the mean colour of normalised images; in place."""
    from torchvision.transforms import v2

    erase = v2.RandomErasing(probability, inplace=True)
    for image in images:
        erase(image)
    return images
