from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from featherlight.loading.crops import (
    MIN_AREA,
    cut_regions,
    cut_regions_on_device,
    cut_shifted,
    cut_shifted_on_device,
    draw_regions,
    draw_shifts,
    pad_of,
    scale_image,
)


def picture(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def theirs(count: int, side: int) -> np.ndarray:
    torch.manual_seed(0)
    crop, image = v2.RandomResizedCrop(224, scale=(MIN_AREA, 1.0)), torch.zeros(3, side, side, dtype=torch.uint8)
    drawn = [crop.make_params([image]) for _ in range(count)]
    return np.array([[box[name] for name in ("top", "left", "height", "width")] for box in drawn])


def quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, np.linspace(0.05, 0.95, 19))


def test_regions_are_distributed_as_those_of_torchvision():
    side, count = 256, 8000
    ours = draw_regions(np.random.default_rng(0), count, side)
    top, left, height, width = ours.T / side
    their_top, their_left, their_height, their_width = theirs(count, side).T / side
    # Of 8,000 draws a quantile is known to about 1.1 % of the range (two samples: 1.6 %); the bound is thrice that.
    for name, a, b in [
        ("area", height * width, their_height * their_width),
        ("ratio", np.log(width / height), np.log(their_width / their_height)),
        ("top", top, their_top),
        ("left", left, their_left),
        ("place", top / np.maximum(1 - height, 1 / side), their_top / np.maximum(1 - their_height, 1 / side)),
    ]:
        assert np.abs(quantiles(a) - quantiles(b)).max() < 0.05 * np.ptp(b), name


@given(side=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_regions_lie_within_the_image(side, seed):
    top, left, height, width = draw_regions(np.random.default_rng(seed), 50, side).T
    assert (np.minimum(height, width) >= 1).all()
    assert (np.minimum(top, left) >= 0).all()
    assert (np.maximum(top + height, left + width) <= side).all()


def test_a_region_has_the_pixels_that_torchvision_cuts():
    image = picture(256)
    regions = np.array([[0, 0, 256, 256], [10, 20, 200, 180], [3, 90, 151, 166], [32, 16, 224, 224]])
    cut = cut_regions([image] * 4, regions, np.array([False] * 4), 224)
    for ours, (top, left, height, width) in zip(cut, regions.tolist(), strict=True):
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        theirs = F.resized_crop(tensor, top, left, height, width, [224, 224], antialias=True).permute(1, 2, 0)
        assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= 1


def test_a_region_has_the_pixels_that_pillow_cuts():
    image = picture(256)
    region = np.array([[10, 20, 250, 230]])
    ours = cut_regions([image], region, np.array([False]), 224)[0].astype(int)
    whole = Image.fromarray(image[10:260, 20:250])
    theirs = np.asarray(whole.resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_an_accelerator_cuts_the_pixels_that_torchvision_cuts_without_antialiasing():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (12, 64, 64, 3), np.uint8))
    regions, mirrored = draw_regions(rng, 12, 64), rng.random(12) < 0.5
    regions[:3] = [[0, 0, 64, 64], [0, 20, 40, 44], [24, 0, 40, 44]]
    cut = cut_regions_on_device(images, regions, mirrored, 56)
    for image, ours, flag, (top, left, height, width) in zip(images, cut, mirrored, regions.tolist(), strict=True):
        pixels = image.permute(2, 0, 1).float()
        theirs = F.resized_crop(pixels, top, left, height, width, [56, 56], antialias=False).permute(1, 2, 0)
        assert ((theirs.flip(1) if flag else theirs) - ours.float()).abs().max() <= 0.51  # rounding, and float32


def test_a_mirrored_region_is_the_region_mirrored():
    image, region = picture(64), np.array([[3, 5, 50, 40]])
    plain, mirrored = (cut_regions([image], region, np.array([flag]), 32)[0] for flag in (False, True))
    assert np.array_equal(mirrored, plain[:, ::-1])


def test_shifts_reach_every_place_about_equally_often():
    shifts = draw_shifts(np.random.default_rng(0), 9 * 9 * 200, 4)
    counts = np.bincount(shifts[:, 0] * 9 + shifts[:, 1], minlength=81)
    assert len(counts) == 81
    assert counts.min() > 200 - 5 * 200**0.5
    assert counts.max() < 200 + 5 * 200**0.5


def test_a_shift_is_a_part_of_the_side_and_at_least_a_pixel():
    assert [pad_of(32, shift) for shift in (1 / 8, 1 / 16, 0.001, 0)] == [4, 2, 1, 0]


@given(
    size=st.integers(1, 40),
    shift=st.floats(0, 0.5),
    seed=st.integers(0, 99),
    fill=st.sampled_from(["black", "reflect"]),
)
def test_shifted_images_of_any_size_are_windows_of_padded_ones(size, shift, seed, fill):
    rng, pad = np.random.default_rng(seed), pad_of(size, shift)
    images = rng.integers(0, 256, (3, size, size, 3), np.uint8)
    shifts, mirrored = draw_shifts(rng, 3, pad), np.array([False, True, False])
    around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    padded = np.pad(images, around) if fill == "black" else np.pad(images, around, mode="reflect")
    cut = cut_shifted(images, shifts, mirrored, pad, fill)
    for ours, whole, (row, column), flag in zip(cut, padded, shifts, mirrored, strict=True):
        window = whole[row : row + size, column : column + size]
        assert np.array_equal(ours, window[:, ::-1] if flag else window)
    elsewhere = cut_shifted_on_device(torch.from_numpy(images), shifts, mirrored, pad, fill)
    assert np.array_equal(elsewhere.numpy(), cut)


@given(height=st.integers(1, 90), width=st.integers(1, 90), to_height=st.integers(1, 90), to_width=st.integers(1, 90))
def test_scaling_is_pillows_within_a_grey_level(height, width, to_height, to_width):
    image = np.random.default_rng(height * 97 + width).integers(0, 256, (height, width, 3), np.uint8)
    ours = scale_image(image, to_height, to_width).astype(int)
    theirs = np.asarray(Image.fromarray(image).resize((to_width, to_height), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
