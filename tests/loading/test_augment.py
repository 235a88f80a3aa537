from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherlight.loading.augment import Augmentation, crop_batch, finish_images, mix_batch, random_seed_for
from featherlight.loading.batches import seeded


def augmentation(**changes: object) -> Augmentation:
    values = {
        "size": 16,
        "crop": "pad",
        "flip": True,
        "trivial_augment": False,
        "mixup": 0.0,
        "cutmix": 0.0,
        "num_classes": 3,
    }
    return Augmentation(**{**values, **changes})


def random_images(count: int, size: int) -> torch.Tensor:
    return torch.randint(1, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _window(padded: torch.Tensor, row: int, column: int, flip: bool) -> torch.Tensor:
    window = padded[row : row + 16, column : column + 16]
    return window.flip(1) if flip else window


def test_shifted_images_are_shifts_and_mirrors_of_the_originals():
    images = random_images(64, 16)
    torch.manual_seed(0)
    cut = crop_batch(images, augmentation())
    padded = torch.nn.functional.pad(images, (0, 0, 2, 2, 2, 2))
    offsets, mirrored = set(), 0
    for k in range(64):
        matches = [
            (row, column, flip)
            for row in range(5)
            for column in range(5)
            for flip in (False, True)
            if torch.equal(cut[k], _window(padded[k], row, column, flip))
        ]
        assert len(matches) == 1, f"image {k} is no shift of its original"
        row, column, flip = matches[0]
        offsets.add((row, column))
        mirrored += flip
    assert len(offsets) > 10
    assert 16 < mirrored < 48


def test_without_flip_nothing_is_mirrored():
    images = torch.zeros(32, 16, 16, 3, dtype=torch.uint8)
    images[:, :, 4:8] = 200  # a bar left of the middle, further from it than any shift reaches
    cut = crop_batch(images, augmentation(flip=False)).float().mean((1, 3))
    assert (cut[:, :10].sum(1) > cut[:, 10:].sum(1)).all()


def test_regions_keep_size_and_type():
    cut = crop_batch(random_images(8, 20), augmentation(crop="resized"))
    assert cut.shape == (8, 16, 16, 3)
    assert cut.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in cut}) == 8


def test_no_crop_and_no_flip_changes_nothing():
    images = random_images(4, 16)
    assert torch.equal(crop_batch(images, augmentation(crop="none", flip=False)), images)


def test_trivial_augment_changes_images_and_keeps_their_shape():
    images = random_images(16, 16)
    torch.manual_seed(0)
    changed = finish_images(images, augmentation(trivial_augment=True))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    assert torch.equal(finish_images(images, augmentation()), images)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_labels_are_probabilities_of_the_mixed_images(kind):
    images, labels = torch.zeros(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    images += labels.view(-1, 1, 1, 1)
    torch.manual_seed(0)
    mixed, targets = mix_batch(images, labels, augmentation(**{kind: 1.0}))
    assert targets.shape == (6, 3)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(3.0), rtol=1e-5, atol=1e-5)


def test_without_mixing_the_batch_is_untouched():
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    same, targets = mix_batch(images, labels, augmentation())
    assert same is images
    assert targets is labels


@given(st.lists(st.integers(0, 2**63), min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 2**20))
def test_seeds_differ_when_a_part_differs(parts, place, change):
    other = list(parts)
    other[place % len(parts)] += change
    assert 0 <= random_seed_for(*parts) < 2**64
    assert random_seed_for(*parts) != random_seed_for(*other)


def test_seeded_gives_the_same_numbers_and_leaves_the_others_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(1, 2):
        first = torch.rand(3)
    undisturbed = torch.rand(3)
    with seeded(1, 2):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(undisturbed, expected)
