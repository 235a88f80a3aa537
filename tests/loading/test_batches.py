from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from featherlight.errors import UnreadableImageError
from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation
from featherlight.loading.batches import (
    MemoryBatches,
    StreamedBatches,
    fits_in_memory,
    storage_preprocessing,
)
from featherlight.sources import open_source

AUGMENTATION = Augmentation(32, "pad", True, False, 0.0, 0.0, 2)


def memory_batches(count: int = 50, batch_size: int = 8) -> MemoryBatches:
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryBatches(images, torch.arange(count), AUGMENTATION, batch_size, 0, [])


def test_an_epoch_taken_up_in_the_middle_gives_the_same_batches():
    batches = memory_batches()
    whole = list(batches.epoch(3))
    torch.manual_seed(123)  # what the network draws in between must not matter
    rest = list(batches.epoch(3, start=4))
    assert len(whole) == len(batches)
    assert [batch.number for batch in rest] == [4, 5]
    for a, b in zip(whole[4:], rest, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_two_epochs_show_an_image_differently():
    batches = memory_batches()
    shown = [
        {int(k): image for batch in batches.epoch(e) for k, image in zip(batch.labels, batch.images, strict=True)}
        for e in (0, 1)
    ]
    assert sum(torch.equal(shown[0][k], shown[1][k]) for k in range(50)) < 10


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for name in ("a", "b"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{k:02}.png")
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return open_source(tmp_path).splits["train"]


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_repeatable_and_name_what_they_skip(photos, crop, workers):
    augmentation = Augmentation(32, crop, True, True, 0.0, 0.0, 2)
    batches = StreamedBatches(photos, Preprocessing(32), augmentation, 8, 0, workers, False)
    first, again = list(batches.epoch(0)), list(batches.epoch(0))
    assert sum(len(batch.labels) for batch in first) == 40
    assert [path.rpartition("/")[2] for path, _ in batches.unreadable] == ["broken.png"]
    for a, b in zip(first, again, strict=True):
        assert a.images.shape[1:] == (32, 32, 3)
        assert torch.equal(a.images, b.images)


def test_a_strict_stream_stops_at_the_first_unreadable_image(photos):
    augmentation = Augmentation(32, "pad", True, False, 0.0, 0.0, 2)
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        list(StreamedBatches(photos, Preprocessing(32), augmentation, 8, 0, 0, True).epoch(0))


def test_the_number_of_workers_does_not_change_the_batches(photos):
    augmentation = Augmentation(32, "resized", True, False, 0.0, 0.0, 2)
    one, three = (
        list(StreamedBatches(photos, Preprocessing(32), augmentation, 8, 0, n, False).epoch(2)) for n in (0, 2)
    )
    for a, b in zip(one, three, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_stored_images_have_room_for_regions_only_where_regions_are_cut():
    preprocessing = Preprocessing(224, crop_fraction=0.875)
    assert storage_preprocessing(preprocessing, AUGMENTATION) == preprocessing
    resized = Augmentation(224, "resized", True, False, 0.0, 0.0, 2)
    assert storage_preprocessing(preprocessing, resized) == Preprocessing(256, crop_fraction=1.0)


def test_a_hundred_million_photos_do_not_fit_in_memory():
    assert fits_in_memory(1000, Preprocessing(32))
    assert not fits_in_memory(100_000_000, Preprocessing(224))
