from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms import AutoAugmentPolicy, v2

from featherlight.loading import auto_augment as ours
from featherlight.loading.auto_augment import auto_augment, pairs_of, strength
from featherlight.loading.trivial import operation_of

POLICIES = ("imagenet", "cifar10", "svhn")
SIDE = 24


def photos(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_operation_is_torchvisions_at_every_strength(policy):
    """Compared with what torchvision's own class does once its chance is taken away."""
    reference = v2.AutoAugment(AutoAugmentPolicy(policy))
    image = photos(1)[0].permute(2, 0, 1)
    assert pairs_of(policy) == reference._get_policies(AutoAugmentPolicy(policy))
    for name, _, step in {step for pair in pairs_of(policy) for step in pair}:
        find, is_signed = reference._AUGMENTATION_SPACE[name]
        strengths = find(10, SIDE, SIDE)
        for sign in (-1, 1) if is_signed else (1,):
            value = 0.0 if strengths is None else sign * float(strengths[step])
            assert strength(name, step, sign, SIDE) == value
            expected = reference._apply_image_or_video_transform(image, name, value, reference.interpolation, {})
            assert torch.equal(operation_of(name)(image.clone(), strength(name, step, sign, SIDE)), expected)


def test_a_batch_depends_on_the_generator_alone():
    torch.manual_seed(0)
    first = auto_augment(photos(20), "imagenet", np.random.default_rng(1))
    torch.manual_seed(5)
    assert torch.equal(first, auto_augment(photos(20), "imagenet", np.random.default_rng(1)))
    assert not torch.equal(first, auto_augment(photos(20), "imagenet", np.random.default_rng(2)))


def test_operations_come_as_often_as_the_policy_says(monkeypatch):
    done: Counter[str] = Counter()

    def count(name: str) -> object:
        return lambda image, _: (done.update([name]), image)[1]

    monkeypatch.setattr(ours, "operation_of", count)
    n = 20_000
    auto_augment(torch.zeros(n, 1, 1, 3, dtype=torch.uint8), "imagenet", np.random.default_rng(0))
    expected: Counter[str] = Counter()
    for pair in pairs_of("imagenet"):
        for name, probability, _ in pair:
            expected[name] += probability / 25
    for name, part in expected.items():
        assert done[name] / n == pytest.approx(part, abs=5 * np.sqrt(part / n))
