from __future__ import annotations

import itertools

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from featherlight.loading.color_jitter import color_jitter

CHANGES = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)


def photos(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 12, 12, 3), generator=generator).to(torch.uint8)


def test_an_image_gets_torchvisions_three_changes_in_one_of_six_orders():
    rng, count = np.random.default_rng(3), 60
    jittered = color_jitter(photos(count), 0.4, np.random.default_rng(3))
    factors = rng.uniform(0.6, 1.4, (count, 3))
    seen = set()
    for image, changed, factor in zip(photos(count), jittered, factors, strict=True):
        orders = [order for order in itertools.permutations(range(3)) if matches(image, changed, order, factor)]
        assert orders
        seen.update(orders if len(orders) == 1 else [])
    assert len(seen) == 6


def matches(image: torch.Tensor, changed: torch.Tensor, order: tuple[int, ...], factor: np.ndarray) -> bool:
    expected = image.permute(2, 0, 1)
    for k in order:
        expected = CHANGES[k](expected, float(factor[k]))
    return torch.equal(changed, expected.permute(1, 2, 0))


def test_nothing_changes_at_strength_nothing():
    assert (color_jitter(photos(8), 0.0, np.random.default_rng(0)).int() - photos(8).int()).abs().max() <= 1


def test_a_batch_depends_on_the_generator_alone():
    torch.manual_seed(0)
    first = color_jitter(photos(8), 0.4, np.random.default_rng(1))
    torch.manual_seed(5)
    assert torch.equal(first, color_jitter(photos(8), 0.4, np.random.default_rng(1)))
    assert not torch.equal(first, color_jitter(photos(8), 0.4, np.random.default_rng(2)))
