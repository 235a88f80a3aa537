from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featherlight.errors import UnreadableImageError
from featherlight.loading.stored import FileRows, Layout, Rows, StoredImages, read_end, write_end

LAYOUT = Layout(5, 6)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), np.uint8)
CHECKSUMS = np.array([zlib.crc32(image.data) for image in PIXELS], np.uint32)
FAILED = ((3, "truncated"),)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.images"
    with path.open("wb+") as file:
        file.write(PIXELS.tobytes())
        file.flush()
        write_end(file.fileno(), LAYOUT, CHECKSUMS, FAILED)
    return path


def rows_of(path, redecode, on_damage=lambda: None, in_memory=True):
    file = os.open(path, os.O_RDONLY)
    checksums, _ = read_end(file, LAYOUT)
    return FileRows(file, LAYOUT, checksums, redecode, on_damage, in_memory=in_memory)


def nothing_to_decode(position):
    raise AssertionError(f"image {position} is sound")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_file_gives_back_what_was_written(path, in_memory):
    rows = rows_of(path, nothing_to_decode, in_memory=in_memory)
    for _ in range(2):
        taken = rows.take(np.array([4, 0, 4]))
        assert np.array_equal(taken, PIXELS[[4, 0, 4]])
    with path.open("rb") as file:
        checksums, failed = read_end(file.fileno(), LAYOUT)
    assert np.array_equal(checksums, CHECKSUMS)
    assert failed == FAILED


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_damaged_image_is_decoded_anew_and_reported_once(path, in_memory, bit):
    data = bytearray(path.read_bytes())
    data[2 * LAYOUT.row_bytes + 50] ^= 1 << bit
    path.write_bytes(data)
    reports, decoded = [], []

    def redecode(position):
        decoded.append(position)
        return PIXELS[position]

    rows = rows_of(path, redecode, lambda: reports.append(1), in_memory=in_memory)
    assert np.array_equal(rows.take(np.array([1, 2, 4])), PIXELS[[1, 2, 4]])
    assert np.array_equal(rows.take(np.array([2])), PIXELS[[2]])
    assert decoded == [2, 2]
    assert reports == [1]


def test_a_damaged_image_whose_original_is_gone_is_an_error(path):
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)

    def gone(position):
        raise UnreadableImageError("a.jpg", "no such file")

    with pytest.raises(UnreadableImageError, match=r"a\.jpg"):
        rows_of(path, gone).take(np.array([0]))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured through Linux's /proc")
def test_reading_a_file_larger_than_memory_takes_no_memory(tmp_path):
    """Here 200 MB stand for more than memory holds. A map of them would count as ours, page by page."""
    layout = Layout(1000, 256)
    checksums = np.full(1000, zlib.crc32(bytes(layout.row_bytes)), np.uint32)
    path = tmp_path / "large.images"
    with path.open("wb+") as file:
        write_end(file.fileno(), layout, checksums, ())
    rows = FileRows(os.open(path, os.O_RDONLY), layout, checksums, nothing_to_decode, lambda: None, in_memory=False)
    before = resident_bytes()
    for positions in np.random.default_rng(0).permutation(1000).reshape(-1, 20):
        assert not any(image.any() for image in rows.take(positions))
    assert resident_bytes() - before < 50 * 2**20


def test_a_file_that_became_shorter_while_it_is_read_is_decoded_anew(path):
    rows = rows_of(path, lambda position: PIXELS[position], in_memory=False)
    with path.open("rb+") as file:
        file.truncate(10)
    assert np.array_equal(rows.take(np.array([1])), PIXELS[[1]])


@pytest.mark.parametrize("layout", [Layout(5, 7), Layout(4, 6), Layout(6, 6), Layout(0, 6)])
def test_a_file_of_other_images_is_refused(path, layout):
    with path.open("rb") as file, pytest.raises(ValueError, match=r"cut off|not as long|other|damaged"):
        read_end(file.fileno(), layout)


def test_a_file_cut_off_anywhere_is_refused(path, tmp_path):
    data = path.read_bytes()
    short = tmp_path / "short"
    for length in [*range(0, len(data), 7), len(data) - 1]:
        short.write_bytes(data[:length])
        with short.open("rb") as file, pytest.raises(ValueError, match=r"cut off|not as long"):
            read_end(file.fileno(), LAYOUT)


@pytest.mark.parametrize("bit", [0, 5])
def test_a_flipped_bit_anywhere_in_the_end_is_noticed(path, tmp_path, bit):
    data = path.read_bytes()
    broken = tmp_path / "broken"
    for place in range(LAYOUT.pixel_bytes, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        broken.write_bytes(changed)
        with broken.open("rb") as file, pytest.raises(ValueError, match=r"not as long|damaged"):
            read_end(file.fileno(), LAYOUT)


@given(st.integers(0, 30).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(0, n - 1)), max_size=n))))
def test_readable_images_are_numbered_without_gaps(case):
    count, bad = case
    pixels = np.arange(count, dtype=np.uint8).repeat(3).reshape(count, 1, 1, 3)
    stored = StoredImages(Rows(pixels), count, [(position, "truncated") for position in bad])
    good = [position for position in range(count) if position not in bad]
    assert stored.positions.tolist() == good
    assert [int(image[0, 0, 0]) for image in stored[np.arange(len(good))]] == good
    assert [position for position, _ in stored.failed] == sorted(bad)
