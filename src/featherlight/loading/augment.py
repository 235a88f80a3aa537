"""Augmentation by the batch: what a network sees is never twice the same.

Everything random comes from the seed handed in, so that a batch depends on (seed, step) alone and training can
be taken up again at any step with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Crop = Literal["pad", "resized", "none"]
PAD_FRACTION = 1 / 8  # 4 pixels around 32, as in He et al. 2015
MIN_AREA = 0.35  # torchvision's 0.08 is for hundreds of epochs; light networks on short runs want to see the object


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        size: of the network's input, pixels.
        crop: ``pad`` shifts by up to an eighth, ``resized`` cuts a random region and scales it, ``none`` resizes.
        flip: mirrors every second image.
        trivial_augment: one random operation of random strength per image (Mueller & Hutter 2021).
        mixup: parameter of the Beta distribution of Zhang et al. 2018; 0 is off.
        cutmix: likewise of Yun et al. 2019; with both on, each batch draws one of them.
        num_classes: of the targets.
    """

    size: int
    crop: Crop
    flip: bool
    trivial_augment: bool
    mixup: float
    cutmix: float
    num_classes: int


def random_seed_for(*parts: int) -> int:
    """Mixes numbers (seed, epoch, position) into one seed (splitmix64)."""
    state = 0
    for part in parts:
        state = (state ^ (part & (2**64 - 1))) * 0x9E3779B97F4A7C15 % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


def crop_batch(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Cuts stored images uint8 (N, R, R, 3) to uint8 (N, S, S, 3), each its own way."""
    if augmentation.crop == "pad":
        return _shift_and_flip(images, augmentation)
    if augmentation.crop == "resized":
        cropped = torch.stack([resized_crop(image.permute(2, 0, 1), augmentation) for image in images])
        return _flip(cropped.permute(0, 2, 3, 1), augmentation)
    return _flip(images, augmentation)


def resized_crop(image: Tensor, augmentation: Augmentation) -> Tensor:
    """One image uint8 (3, H, W) of any size -> a random region of it, uint8 (3, S, S)."""
    from torchvision.transforms import v2  # takes seconds to import, and small images never need it

    crop = v2.RandomResizedCrop(augmentation.size, scale=(MIN_AREA, 1.0), antialias=True)
    cropped: Tensor = crop(image)
    return cropped


def finish_images(images: Tensor, augmentation: Augmentation) -> Tensor:
    """The part that is the same for images from memory and from files: uint8 (N, S, S, 3) in and out."""
    if not augmentation.trivial_augment:
        return images
    from torchvision.transforms import v2

    operation = v2.TrivialAugmentWide()
    return torch.stack([operation(image.permute(2, 0, 1)).permute(1, 2, 0) for image in images])


def mix_batch(images: Tensor, labels: Tensor, augmentation: Augmentation) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix on normalised images; labels become probabilities (N, num_classes) when it is on."""
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


def _shift_and_flip(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Shifts each image by up to an eighth, black coming in at the edges, and mirrors half of them.

    One gather over the whole batch: shifting and mirroring are only a choice of rows and columns.
    """
    count, size = images.shape[0], augmentation.size
    pad = max(1, round(size * PAD_FRACTION))
    padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
    steps = torch.arange(size)
    rows = torch.randint(2 * pad + 1, (count, 1)) + steps
    columns = torch.randint(2 * pad + 1, (count, 1)) + steps
    if augmentation.flip:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _flip(images: Tensor, augmentation: Augmentation) -> Tensor:
    if not augmentation.flip:
        return images
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(2), images)
