from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from PIL import Image

from featherlight.errors import UnreadableImageError
from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import (
    Batch,
    MemoryBatches,
    StreamedBatches,
    fits_in_memory,
    storage_preprocessing,
)
from featherlight.loading.decoding import Decoder
from featherlight.loading.loaded import load_images
from featherlight.sources import open_source
from featherlight.sources.base import Split, take

AUGMENTATION = Augmentation(32, "pad", True, False, 0.0, 0.0, 2)


def memory_batches(count: int = 50, batch_size: int = 8) -> MemoryBatches:
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryBatches(images, torch.arange(count), AUGMENTATION, batch_size, 0, [])


def assert_same(a: Iterable[Batch], b: Iterable[Batch]) -> None:
    for first, second in zip(a, b, strict=True):
        assert first.number == second.number
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)


def test_an_epoch_taken_up_in_the_middle_gives_the_same_batches():
    batches = memory_batches()
    whole = list(batches.epoch(3))
    torch.manual_seed(123)  # what the network draws in between must not matter
    rest = list(batches.epoch(3, start=4))
    assert len(whole) == len(batches)
    assert [batch.number for batch in rest] == [4, 5]
    assert_same(whole[4:], rest)


def test_what_the_network_draws_meanwhile_changes_nothing_and_is_not_changed():
    quiet = list(memory_batches().epoch(0))
    torch.manual_seed(5)
    expected = torch.rand(len(quiet))
    torch.manual_seed(5)
    drawn = []
    noisy = []
    for batch in memory_batches().epoch(0):
        drawn.append(torch.rand(()))
        noisy.append(batch)
    assert_same(quiet, noisy)
    assert torch.equal(torch.stack(drawn), expected)


def test_two_epochs_show_an_image_differently():
    batches = memory_batches()
    shown = [
        {int(k): image for batch in batches.epoch(e) for k, image in zip(batch.labels, batch.images, strict=True)}
        for e in (0, 1)
    ]
    assert sum(torch.equal(shown[0][k], shown[1][k]) for k in range(50)) < 10


def test_alternating_flips_show_every_image_both_ways_in_two_epochs(photos, own_cache):
    augmentation = Augmentation(32, "none", True, False, 0.0, 0.0, 2, alternating_flip=True)
    in_memory = dataclasses.replace(memory_batches(), augmentation=augmentation)
    for batches in (in_memory, streamed(photos, "none")):  # the first epoch is decoded, the second one is from disk
        shown = [
            sorted(image.numpy().tobytes() for batch in batches.epoch(epoch) for image in batch.images)
            for epoch in (0, 1)
        ]
        turned = sorted(
            image.flip(1).contiguous().numpy().tobytes() for batch in batches.epoch(0) for image in batch.images
        )
        assert shown[1] == turned != shown[0]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_does_not_change_the_batches(monkeypatch, cores):
    expected = list(memory_batches().epoch(1))
    monkeypatch.setattr("featherlight.loading.batches.count_cores", lambda: cores)
    assert_same(memory_batches().epoch(1), expected)


@pytest.fixture
def photos(tmp_path, own_cache):
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{k:02}.png")
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return open_source(tmp_path).splits["train"]


def streamed(split: Split, crop: str = "resized", workers: int = 0, strict: bool = False) -> StreamedBatches:
    augmentation = Augmentation(32, crop, True, crop == "pad", 0.0, 0.0, 2, alternating_flip=crop == "none")
    return StreamedBatches(split, Preprocessing(32), augmentation, 8, 0, workers, strict)


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
def test_batches_kept_on_disk_are_those_that_were_streamed(photos, own_cache, crop):
    """The first epoch decodes; the second start, and every later epoch, takes the images from disk."""
    batches = streamed(photos, crop)
    first = list(batches.epoch(0))
    assert [path.suffix for path in own_cache.iterdir()] == [".images"]
    assert sum(len(batch.labels) for batch in first) == 40
    assert_same(batches.epoch(0), first)
    for again in (batches, streamed(photos, crop)):
        assert_same(again.epoch(0), first)
        assert [path.rpartition("/")[2] for path, _ in again.unreadable] == ["broken.png"]
        assert all(batch.images.shape[1:] == (32, 32, 3) for batch in first)


def test_without_room_on_disk_every_epoch_is_streamed(photos, own_cache, monkeypatch):
    kept = list(streamed(photos).epoch(1))
    monkeypatch.setenv("FEATHERLIGHT_CACHE_GB", "0")
    batches = streamed(photos)
    assert_same(batches.epoch(1), kept)
    assert_same(batches.epoch(1), kept)


def test_a_stream_that_was_cut_short_is_kept_when_the_rest_has_come(photos, own_cache):
    whole = streamed(photos)
    batches = [list(whole.epoch(epoch)) for epoch in (0, 1)]
    (file,) = own_cache.iterdir()
    file.unlink()
    resumed = streamed(photos)
    assert_same(resumed.epoch(0, start=3), batches[0][3:])
    assert file.exists() is False
    assert_same(resumed.epoch(1), batches[1])
    assert file.exists()


def test_streamed_batches_hold_the_images_that_memory_would_hold(photos):
    augmentation = Augmentation(32, "resized", True, False, 0.0, 0.0, 2)
    decoder = Decoder(photos, storage_preprocessing(Preprocessing(32), augmentation), scaled=True)
    stored = load_images(decoder)
    expected = {image.tobytes() for image in stored.take(stored.positions)}
    seen = {image.tobytes() for _, image in decoder.each(np.arange(len(photos))) if not isinstance(image, str)}
    assert seen == expected


def test_a_strict_stream_stops_at_the_first_unreadable_image(photos):
    for _ in range(2):  # streamed, then from disk
        with pytest.raises(UnreadableImageError, match=r"broken\.png"):
            list(streamed(photos, "pad", strict=True).epoch(0))
        list(streamed(photos, "pad").epoch(0))


def test_the_number_of_workers_does_not_change_the_batches(photos, monkeypatch):
    monkeypatch.setenv("FEATHERLIGHT_CACHE_GB", "0")
    assert_same(streamed(photos, workers=0).epoch(2), list(streamed(photos, workers=2).epoch(2)))


def test_workers_keep_what_they_decode(photos, own_cache):
    first = list(streamed(photos, workers=2).epoch(0))
    assert [path.suffix for path in own_cache.iterdir()] == [".images"]
    assert_same(streamed(photos).epoch(0), first)


def test_stored_images_have_room_for_regions_only_where_regions_are_cut():
    preprocessing = Preprocessing(224, crop_fraction=0.875)
    assert storage_preprocessing(preprocessing, dataclasses.replace(AUGMENTATION, size=224)) == preprocessing
    resized = Augmentation(224, "resized", True, False, 0.0, 0.0, 2)
    assert storage_preprocessing(preprocessing, resized) == Preprocessing(256, crop_fraction=1.0)


def test_a_hundred_million_photos_do_not_fit_in_memory():
    assert fits_in_memory(1000, Preprocessing(32))
    assert not fits_in_memory(100_000_000, Preprocessing(224))


def test_weights_come_with_their_images():
    batches = memory_batches()
    batches.weights = torch.arange(50, dtype=torch.float32) / 7
    for batch in batches.epoch(1):
        assert batch.weights is not None
        assert torch.equal(batch.weights, batch.labels / 7)  # labels number the images there


def test_weights_come_with_streamed_and_with_kept_images_too(photos, own_cache):
    weights = torch.rand(len(photos), generator=torch.Generator().manual_seed(0))
    labelled = dataclasses.replace(photos, labels=np.arange(len(photos)))
    for name in ("streamed", "kept"):
        batches = streamed(labelled)
        batches._weights = weights
        shown = list(batches.epoch(0))
        assert shown, name
        for batch in shown:
            assert torch.equal(batch.weights, weights[batch.labels]), name


@pytest.mark.parametrize("kind", ["memory", "streamed"])
def test_balanced_batches_show_every_class_equally_often(photos, kind):
    photos = take(photos, np.array([k for k, path in enumerate(photos.paths) if "broken" not in path]))
    labels = np.array([0] * (len(photos) - 2) + [1, 1], np.int64)
    if kind == "memory":
        batches = memory_batches(len(labels))
        batches.labels, batches.balanced = torch.from_numpy(labels), True
    else:
        batches = streamed(dataclasses.replace(photos, labels=labels))
        batches._balance = labels
    for epoch in range(2):
        counts = np.bincount(torch.cat([batch.labels for batch in batches.epoch(epoch)]).numpy(), minlength=2)
        assert counts.sum() == len(labels)
        assert abs(counts[0] - counts[1]) <= 1


def test_streamed_images_are_repeated_like_those_in_memory(photos, own_cache):
    augmentation = Augmentation(32, "resized", True, False, 0.0, 0.0, 2)
    batches = StreamedBatches(photos, Preprocessing(32), augmentation, 8, 0, 0, False, repeats=4)
    first = list(batches.epoch(0))
    assert sum(len(batch.labels) for batch in first) == 37  # of 41, four times the one that cannot be read
    labels = torch.cat([batch.labels for batch in first])
    assert torch.equal(labels[:36:4].repeat_interleave(4), labels[:36])
    assert not torch.equal(first[0].images[0], first[0].images[1])  # cut anew each time
    assert_same(batches.epoch(0), first)
