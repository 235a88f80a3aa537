from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from featherlight.loading.augment import (
    Augmentation,
    augment_batch,
    crop_on_device,
    flips_in_turn,
    mix_batch,
    random_seed_for,
)
from featherlight.loading.crops import draw_regions

CPU = torch.device("cpu")


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


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, size, size, 3), np.uint8)


def augmented(images: np.ndarray, seed: int = 0, **changes: object) -> np.ndarray:
    return augment_batch(images, augmentation(**changes), np.random.default_rng(seed), CPU).numpy()


def _window(padded: np.ndarray, row: int, column: int, flip: bool) -> np.ndarray:
    window = padded[row : row + 16, column : column + 16]
    return window[:, ::-1] if flip else window


def test_shifted_images_are_shifts_and_mirrors_of_the_originals():
    images = random_images(64, 16)
    cut = augmented(images)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets, mirrored = set(), 0
    for k in range(64):
        matches = [
            (row, column, flip)
            for row in range(5)
            for column in range(5)
            for flip in (False, True)
            if np.array_equal(cut[k], _window(padded[k], row, column, flip))
        ]
        assert len(matches) == 1, f"image {k} is no shift of its original"
        row, column, flip = matches[0]
        offsets.add((row, column))
        mirrored += flip
    assert len(offsets) > 10
    assert 16 < mirrored < 48


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
def test_without_flip_nothing_is_mirrored(crop):
    images = np.zeros((32, 16, 16, 3), np.uint8)
    images[:, :, :8] = 200  # the left half, further to the left than any region's middle
    cut = augmented(images, crop=crop, flip=False).astype(float).mean((1, 3))
    assert (cut[:, 0:8].sum(1) >= cut[:, 8:16].sum(1)).all()


@pytest.mark.parametrize("crop", ["resized", "none"])
def test_with_flip_half_of_the_images_are_mirrored(crop):
    images = np.zeros((200, 16, 16, 3), np.uint8)
    images[:] = np.linspace(0, 250, 16, dtype=np.uint8)[:, None]  # brighter to the right
    cut = augmented(images, crop=crop).astype(int)
    mirrored = (cut[:, 8, 0, 0] > cut[:, 8, 15, 0]).sum()
    assert 70 < mirrored < 130


@pytest.mark.parametrize("crop", ["resized", "none"])
def test_alternating_flips_show_every_image_both_ways_in_two_epochs(crop):
    images = np.zeros((200, 16, 16, 3), np.uint8)
    images[:] = np.linspace(0, 250, 16, dtype=np.uint8)[:, None]
    members = np.random.default_rng(1).permutation(1000)[:200]
    seen = []
    for epoch in range(4):
        in_turn, rng = flips_in_turn(members, 7, epoch), np.random.default_rng(epoch)
        cut = augment_batch(images, augmentation(crop=crop, alternating_flip=True), rng, CPU, in_turn).numpy()
        seen.append(cut[:, 8, 0, 0] > cut[:, 8, 15, 0])
    assert (seen[0] ^ seen[1]).all()
    assert np.array_equal(seen[0], seen[2])
    assert np.array_equal(seen[1], seen[3])
    assert 70 < seen[0].sum() < 130


def test_alternating_flips_depend_on_the_seed_and_need_flips():
    members = np.arange(256)
    assert 90 < (flips_in_turn(members, 0, 0) ^ flips_in_turn(members, 1, 0)).sum() < 166
    images, in_turn = random_images(8, 16), np.ones(8, bool)
    settings = augmentation(crop="none", flip=False, alternating_flip=True)
    assert np.array_equal(augment_batch(images, settings, np.random.default_rng(0), CPU, in_turn).numpy(), images)


def test_regions_keep_size_and_type():
    cut = augmented(random_images(8, 20), crop="resized")
    assert cut.shape == (8, 16, 16, 3)
    assert cut.dtype == np.uint8
    assert len({image.tobytes() for image in cut}) == 8


def test_no_crop_and_no_flip_changes_nothing():
    images = random_images(4, 16)
    assert np.array_equal(augmented(images, crop="none", flip=False), images)


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
def test_the_stored_images_themselves_are_never_written_to(crop):
    images = random_images(8, 16)
    before = images.copy()
    images.setflags(write=False)  # as images are that lie in a file
    augmented(images, crop=crop, trivial_augment=True)
    augmented(list(images), crop=crop, trivial_augment=True)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
def test_a_list_of_images_is_augmented_as_an_array_of_them(crop):
    images = random_images(8, 16)
    assert np.array_equal(augmented(images, crop=crop), augmented(list(images), crop=crop))


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
def test_an_augmented_batch_follows_from_its_seed_alone(crop):
    images = random_images(8, 16)
    torch.manual_seed(1)
    first = augmented(images, seed=5, crop=crop, trivial_augment=True)
    torch.manual_seed(2)  # the network's chance is another
    state = torch.get_rng_state()
    assert np.array_equal(augmented(images, seed=5, crop=crop, trivial_augment=True), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not np.array_equal(augmented(images, seed=6, crop=crop, trivial_augment=True), first)


def test_a_shift_of_nothing_changes_nothing():
    images = random_images(8, 16)
    assert np.array_equal(augmented(images, flip=False, shift=0.0), images)


@pytest.mark.parametrize(
    "changes", [{"crop": "pad"}, {"crop": "none"}, {"shift": 0.25, "shift_fill": "reflect"}], ids=str
)
def test_an_accelerator_shifts_and_mirrors_to_the_same_pixels(changes):
    images = random_images(16, 16)
    settings = augmentation(**changes)
    on_cpu = augment_batch(images, settings, np.random.default_rng(3), CPU)
    rng = np.random.default_rng(3)
    mirrored = rng.random(16) < 0.5
    assert torch.equal(crop_on_device(torch.from_numpy(images), settings, mirrored, rng), on_cpu)


def test_an_accelerator_cuts_the_same_regions():
    """Of a smooth picture the two ways to resize make nearly the same pixels; a wrong region would be far off."""
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    picture = np.stack([rows * 7, columns * 7, (rows + columns) * 3], axis=2).astype(np.uint8)
    images = np.repeat(picture[None], 32, axis=0)
    settings = augmentation(size=28, crop="resized")
    on_cpu = augment_batch(images, settings, np.random.default_rng(3), CPU).int()
    rng = np.random.default_rng(3)
    mirrored = rng.random(32) < 0.5
    on_device = crop_on_device(torch.from_numpy(images), settings, mirrored, rng).int()
    assert on_device.shape == on_cpu.shape
    assert (on_device - on_cpu).abs().max() <= 2


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


def test_erasing_is_torchvisions_and_sets_rectangles_to_the_mean():
    images = torch.rand(40, 3, 16, 16) + 1
    torch.manual_seed(4)
    erased, labels = mix_batch(images.clone(), torch.zeros(40, dtype=torch.int64), augmentation(random_erasing=0.5))
    torch.manual_seed(4)
    erase = v2.RandomErasing(p=0.5)
    assert torch.equal(erased, torch.stack([erase(image) for image in images]))
    gone = (erased == 0).flatten(1).any(1)
    assert 10 <= int(gone.sum()) <= 30
    assert torch.equal(labels, torch.zeros(40, dtype=torch.int64))


def test_erased_images_are_mixed_afterwards():
    images, labels = torch.ones(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(0)
    mixed, targets = mix_batch(images, labels, augmentation(random_erasing=1.0, mixup=1.0))
    assert targets.shape == (6, 3)
    assert mixed.min() >= 0
    assert int(((mixed > 0) & (mixed < 1)).sum()) > 0


@pytest.mark.parametrize("change", [{"color_jitter": 0.4}, {"auto_augment": "imagenet"}, {"trivial_augment": True}])
def test_colours_change_after_the_cut_and_only_by_the_generator(change):
    images = random_images(16, 16)
    plain, changed = augmented(images), augmented(images, **change)
    assert not np.array_equal(plain, changed)
    assert np.array_equal(changed, augmented(images, **change))


@pytest.mark.parametrize("area", [0.08, 0.5, 1.0])
def test_regions_are_never_smaller_than_allowed(area):
    regions = draw_regions(np.random.default_rng(0), 4000, 100, area)
    parts = regions[:, 2] * regions[:, 3] / 100**2
    assert parts.min() >= area * 0.97  # whole pixels
    assert parts.min() <= area * 1.2 + 0.01
