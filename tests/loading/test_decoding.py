from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Dataset

import featherlight.loading.decoding as decoding
from featherlight.errors import FeatherlightError
from featherlight.images import Preprocessing, load_image, resize_image
from featherlight.loading.decoding import ArrayTarget, Decoder, FileTarget, decode_all, run_workers, stack
from featherlight.sources.base import Split
from featherlight.sources.files import FileReader

STORED = Preprocessing(24, crop_fraction=1.0)


def exact(split: Split) -> Decoder:
    return Decoder(split, STORED, scaled=False)


@pytest.fixture
def smooth_photo(tmp_path):
    """A large JPEG without fine detail, so that every good way to make it small gives nearly the same."""
    rows, columns = np.meshgrid(np.linspace(0, 255, 900), np.linspace(0, 255, 1200), indexing="ij")
    pixels = np.stack([rows, columns, (rows + columns) / 2], axis=2).astype(np.uint8)
    path = str(tmp_path / "photo.jpg")
    Image.fromarray(pixels).save(path, quality=95)
    return Split(np.zeros(1, np.int64), (path,), FileReader((path,)))


@pytest.mark.parametrize(
    "stored",
    [
        Preprocessing(64, crop_fraction=1.0),
        Preprocessing(64, crop_fraction=0.875),
        Preprocessing(64, "pad"),
        Preprocessing(64, "stretch"),
    ],
)
def test_scaled_decoding_gives_nearly_the_same_image(smooth_photo, stored):
    fast = Decoder(smooth_photo, stored, scaled=True).one(0).astype(int)
    definition = resize_image(load_image(smooth_photo.paths[0]), stored).astype(int)
    assert fast.shape == (64, 64, 3)
    assert np.abs(fast - definition).max() <= 4  # a step of the gradient is 255/64 = 4


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_scaled_decoding_never_enlarges(smooth_photo, resize, monkeypatch):
    asked = []
    monkeypatch.setattr(FileReader, "__call__", lambda self, i, at_least=0: asked.append(at_least) or load(self, i))
    load = lambda self, index: load_image(self.paths[index])  # noqa: E731
    Decoder(smooth_photo, Preprocessing(64, resize, 0.8), scaled=True).one(0)
    assert asked == [80 if resize == "crop" else 64]


def test_without_scaling_images_are_those_of_the_definition(write_photos):
    split = write_photos()
    decoded = stack(exact(split).each(np.array([3, 7])), 24)
    assert decoded.positions.tolist() == [3, 7]
    for position, image in zip((3, 7), decoded.images, strict=True):
        assert np.array_equal(image, resize_image(load_image(split.paths[position]), STORED))


def test_images_that_cannot_be_read_are_named_in_place_of_their_pixels(write_photos):
    split = write_photos(6, broken=(1, 4))
    decoded = stack(exact(split).each(np.arange(6)), 24)
    assert decoded.positions.tolist() == [0, 2, 3, 5]
    assert len(decoded.images) == 4
    assert [position for position, _ in decoded.failed] == [1, 4]
    nothing = stack(exact(split).each(np.array([1])), 24)
    assert nothing.images.shape == (0, 24, 24, 3)


@pytest.mark.parametrize("few", [0, 1000])
def test_processes_and_threads_decode_the_same(write_photos, monkeypatch, tmp_path, few):
    """With few = 0 even ten images are decoded by processes."""
    monkeypatch.setattr(decoding, "_FEW", few)
    split = write_photos(10, broken=(5,))
    path = tmp_path / "pixels"
    path.write_bytes(bytes(10 * 24 * 24 * 3))
    rows = list(decode_all(exact(split), FileTarget(path)))
    pixels = np.frombuffer(path.read_bytes(), np.uint8).reshape(10, 24, 24, 3)
    assert np.concatenate([kept.positions for kept in rows]).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert [position for kept in rows for position, _ in kept.failed] == [5]
    for position in (0, 4, 6, 9):
        assert np.array_equal(pixels[position], exact(split).one(position))
    assert not pixels[5].any()


def test_images_are_written_to_their_places_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (5, 4, 4, 3), np.uint8)
    path, array = tmp_path / "pixels", np.zeros((8, 4, 4, 3), np.uint8)
    path.write_bytes(array.tobytes())
    for target in (FileTarget(path), ArrayTarget(array)):
        with target.writing() as write:
            for position, image in zip((6, 2, 3, 4, 0), images, strict=True):
                write(position, image)
    written = np.frombuffer(path.read_bytes(), np.uint8).reshape(array.shape)
    assert np.array_equal(written, array)
    assert np.array_equal(array[[6, 2, 3, 4, 0]], images)
    assert not array[[1, 5, 7]].any()


@dataclass(frozen=True)
class Doomed(Dataset[Any]):
    def __getitem__(self, key: int) -> int:
        if key == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return key


def test_a_killed_worker_is_an_error_that_says_what_to_try():
    with pytest.raises(FeatherlightError, match="workers=1"):
        list(run_workers(Doomed(), range(6), 1))
