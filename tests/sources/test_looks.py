from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageEnhance

from featherlight.sources.duplicates import components
from featherlight.sources.looks import NEAR_BITS, THUMB_SIZE, _hash_pairs, near_pairs, perceptual_hash, tiny_picture


def scene(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "recompressed": recompressed,
    "smaller": lambda image: image.resize((81, 60), Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((400, 300), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "trimmed by a hundredth": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
}


def compare(*images: Image.Image) -> list[list[int]]:
    arrays = [np.asarray(image) for image in images]
    hashes = np.array([perceptual_hash(array) for array in arrays], np.uint64)
    return near_pairs(hashes, np.stack([tiny_picture(array) for array in arrays])).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_hash_is_bit_for_bit_that_of_the_library_imagehash(seed: int) -> None:
    image = scene(seed, 50 + 13 * seed, 200 - 7 * seed)
    assert perceptual_hash(np.asarray(image)) == int(str(imagehash.phash(image)), 16)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_copies_are_near_duplicates(change) -> None:
    for seed in range(10):
        assert compare(scene(seed), change(scene(seed))) == [[0, 1]]


def test_different_scenes_are_not() -> None:
    assert compare(*(scene(seed) for seed in range(60))) == []


def test_mirrored_and_inverted_images_are_not() -> None:
    image = scene(1)
    assert compare(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == []
    assert compare(image, Image.fromarray(255 - np.asarray(image))) == []


def test_plain_images_resemble_nothing() -> None:
    plain = [Image.new("RGB", (40, 40), colour) for colour in ("black", "white", "red", "red")]
    assert compare(*plain, scene(0)) == []


def test_tiny_picture_is_the_mean_of_its_parts() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:2, :2] = 200
    tiny = tiny_picture(image)
    assert tiny.shape == (THUMB_SIZE, THUMB_SIZE)
    assert tiny[0, 0] == 200
    assert tiny.sum() == 200


HASHES = hnp.arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 2**64 - 1))


@given(
    HASHES, st.lists(st.tuples(st.integers(0, 39), st.sets(st.integers(0, 63), max_size=NEAR_BITS + 2)), max_size=20)
)
def test_pairs_are_those_that_comparing_all_with_all_finds(hashes, flips) -> None:
    near = [int(hashes[base]) ^ sum(1 << bit for bit in bits) for base, bits in flips if base < len(hashes)]
    values = np.concatenate([hashes, np.array(near, np.uint64)])
    expected = [
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if bin(int(values[i]) ^ int(values[j])).count("1") <= NEAR_BITS
    ]
    assert _hash_pairs(values).tolist() == expected


def test_frames_of_a_still_camera_are_bounded_work_and_all_hang_together() -> None:
    count, rng = 3000, np.random.default_rng(0)
    hashes = np.full(count, 0x9234ABCD5678EF01, np.uint64)
    hashes ^= np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    pairs = near_pairs(hashes, np.repeat(rng.integers(0, 256, (1, THUMB_SIZE, THUMB_SIZE), np.uint8), count, axis=0))
    assert len(pairs) <= 100 * count  # of four and a half million
    assert len(set(components(count, pairs).tolist())) == 1
    first, last = pairs[:, 0] < 2900, pairs[:, 1] >= 2900
    assert set(pairs[first & last][:, 1].tolist()) == set(
        range(2900, 3000)
    )  # whatever is held out has its like in train


def test_blank_images_resemble_nothing() -> None:
    blank = np.zeros((5000, THUMB_SIZE, THUMB_SIZE), np.uint8)
    assert near_pairs(np.zeros(5000, np.uint64), blank).shape == (0, 2)
    assert near_pairs(np.zeros(0, np.uint64), blank[:0]).shape == (0, 2)
