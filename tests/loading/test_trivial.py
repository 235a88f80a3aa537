from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from featherlight.loading.trivial import BINS, RANGES, operation_of, strength, trivial_augment

THEIRS = v2.TrivialAugmentWide(num_magnitude_bins=BINS)


def images(count: int, size: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_operations_are_those_of_torchvision():
    assert list(RANGES) == list(THEIRS._AUGMENTATION_SPACE)


@pytest.mark.parametrize("name", RANGES)
def test_an_operation_does_at_each_strength_what_torchvision_does(name):
    (image,) = images(1).permute(0, 3, 1, 2)
    magnitudes, is_signed = THEIRS._AUGMENTATION_SPACE[name]
    values = magnitudes(BINS, 24, 24)
    for step in range(BINS):
        for sign in (1, -1):
            theirs = 0.0 if values is None else float(values[step]) * (sign if is_signed else 1)
            expected = THEIRS._apply_image_or_video_transform(image, name, theirs, THEIRS.interpolation, THEIRS._fill)
            assert torch.equal(operation_of(name)(image, strength(name, step, sign)), expected)


def test_each_image_is_changed_by_an_operation_of_its_own_and_keeps_its_shape():
    before = images(280)
    after = trivial_augment(before.clone(), np.random.default_rng(0))
    assert after.shape == before.shape
    assert after.dtype == torch.uint8
    unchanged = sum(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert 20 < unchanged < 120  # one operation in fourteen is none, and the weakest strengths change nothing


def test_the_operations_follow_from_the_generator_alone():
    first, again, other = (trivial_augment(images(16), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
