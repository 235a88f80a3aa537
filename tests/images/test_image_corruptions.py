from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.images.corruptions import KINDS, STRENGTHS, corrupt, corruption_levels, shift

IMAGE = np.random.default_rng(0).integers(30, 200, (40, 50, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_levels_change_more(kind: str) -> None:
    levels = corruption_levels(kind, 64)
    assert len(levels) == STRENGTHS
    changes = [np.abs(corrupt(IMAGE, kind, level).astype(float) - IMAGE).mean() for level in levels]
    if kind != "shift":  # of noise, a pixel off or ten is the same
        assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64), (1, 70_000)])
def test_images_of_any_shape_keep_it(kind: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    for level in corruption_levels(kind, 224):
        found = corrupt(image, kind, level, seed=3)
        assert (found.shape, found.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_image(kind: str) -> None:
    level = corruption_levels(kind, 224)[2]
    one, same, other = (corrupt(IMAGE, kind, level, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.array_equal(one, other) == (kind not in ("noise", "shift"))


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_published_at_32_and_224_pixels_and_between_in_between(kind: str) -> None:
    small, middle, large = (corruption_levels(kind, size) for size in (32, 96, 224))
    assert (corruption_levels(kind, 16), corruption_levels(kind, 500)) == (small, large)
    assert all(min(a, b) <= m <= max(a, b) for a, m, b in zip(small, middle, large, strict=True))
    if kind == "noise":
        assert (small, large) == ([0.04, 0.06, 0.08, 0.09, 0.10], [0.08, 0.12, 0.18, 0.26, 0.38])


def test_noise_has_the_deviation_of_its_level() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = corrupt(grey, "noise", 0.1).astype(float) / 255
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.mean() == pytest.approx(128 / 255, abs=0.003)


def test_contrast_keeps_the_mean_and_scales_the_deviation() -> None:
    found = corrupt(IMAGE, "contrast", 0.4)
    assert found.mean() == pytest.approx(IMAGE.mean(), abs=0.5)
    assert found.std() == pytest.approx(0.4 * IMAGE.std(), rel=0.02)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from([0.1, 0.3, 0.5]))
def test_brightness_adds_to_the_value_of_hsv(pixel: tuple[int, int, int], added: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in pixel))
    expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(1, value + added)))
    found = corrupt(np.array([[pixel]], np.uint8), "brightness", added)[0, 0]
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_shift_moves_pixels_and_repeats_the_edge() -> None:
    moved = shift(IMAGE, 2, -3)
    np.testing.assert_array_equal(moved[2:, :-3], IMAGE[:-2, 3:])
    np.testing.assert_array_equal(moved[0, :-3], IMAGE[0, 3:])
    np.testing.assert_array_equal(moved[:, -1], moved[:, -4])


def test_weakest_shift_moves_the_smallest_image() -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert all(not np.array_equal(corrupt(small, "shift", 0.02, seed), small) for seed in range(20))
