from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from featherlight.errors import UsageError
from featherlight.images import Preprocessing, load_image, resize_image
from featherlight.loading.cache import FORMAT, DecodedCache
from featherlight.loading.decoding import Decoder, decode_all
from featherlight.loading.disk import LIMIT_VARIABLE
from featherlight.loading.loaded import StreamCache, load_from_disk, load_images
from featherlight.loading.stored import FileRows, StoredImages
from featherlight.sources import open_source
from featherlight.sources.base import Split, take
from featherlight.sources.files import FileReader

STORED = Preprocessing(24, crop_fraction=1.0)


def exact(split: Split, stored: Preprocessing = STORED) -> Decoder:
    return Decoder(split, stored, scaled=False)


def pixels(stored: StoredImages) -> np.ndarray:
    return np.stack(stored.take(stored.positions))


def definition(split: Split, stored: Preprocessing = STORED) -> np.ndarray:
    return np.stack([resize_image(load_image(path), stored) for path in split.paths])


def is_from_disk(stored: StoredImages) -> bool:
    return isinstance(stored._rows, FileRows)


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def overwrite_secretly(path: str) -> None:
    """Makes a file unreadable so that its size and time do not show it."""
    status = os.stat(path)
    Path(path).write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_is_loaded_are_the_pixels_of_the_definition(own_cache, write_photos):
    split = write_photos()
    stored = load_images(exact(split))
    assert is_from_disk(stored)
    assert np.array_equal(pixels(stored), definition(split))
    assert len(files(own_cache)) == 1


@pytest.mark.parametrize("load", [load_images, load_from_disk])
def test_the_second_start_decodes_nothing(own_cache, write_photos, load):
    split = write_photos()
    expected = definition(split)
    load(exact(split))
    for path in split.paths:
        overwrite_secretly(path)
    assert np.array_equal(pixels(load(exact(split))), expected)


def test_changed_images_are_decoded_anew(own_cache, write_photos):
    split = write_photos()
    load_images(exact(split))
    shutil.copyfile(split.paths[0], split.paths[1])
    again = pixels(load_images(exact(split)))
    assert np.array_equal(again[1], again[0])
    assert np.array_equal(again, definition(split))


def test_images_that_only_moved_are_found(own_cache, write_photos, tmp_path):
    split = write_photos()
    first = DecodedCache(exact(split), in_memory=True).path
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    moved = tuple(path.replace("/photos/", "/elsewhere/") for path in split.paths)
    assert DecodedCache(exact(Split(split.labels, moved, FileReader(moved))), in_memory=True).path == first


def test_everything_that_pixels_depend_on_is_in_the_name(own_cache, write_photos, monkeypatch):
    split = write_photos()
    decoders = [
        exact(split),
        dataclasses.replace(exact(split), scaled=True),
        exact(take(split, np.arange(10)[::-1])),
        exact(take(split, np.arange(9))),
        *(exact(split, Preprocessing(24, resize)) for resize in ("crop", "pad", "stretch")),
        exact(split, Preprocessing(25, crop_fraction=1.0)),
        exact(split, Preprocessing(24, "pad", mean=(0.1, 0.2, 0.3))),
    ]
    names = [DecodedCache(decoder, in_memory=True).path for decoder in decoders]
    monkeypatch.setattr("PIL.__version__", "0.0")
    names.append(DecodedCache(exact(split), in_memory=True).path)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("why", ["very many images", "shards that are fetched"])
def test_place_and_time_stand_for_contents_that_are_costly_to_read(own_cache, write_photos, monkeypatch, why):
    split = write_photos()
    if why == "very many images":
        monkeypatch.setattr("featherlight.loading.cache.READ_UP_TO", 9)
    else:
        split = dataclasses.replace(split, bring=lambda shard: None)
    names = [DecodedCache(exact(split), in_memory=True).path for _ in range(2)]
    os.utime(split.paths[4])
    names.append(DecodedCache(exact(split), in_memory=True).path)
    assert names[0] == names[1] != names[2]


def test_the_time_of_a_file_plays_no_part_where_contents_are_known(own_cache, write_photos):
    split = write_photos()
    first = DecodedCache(exact(split), in_memory=True).path
    os.utime(split.paths[4])
    assert DecodedCache(exact(split), in_memory=True).path == first


def test_labels_play_no_part_in_the_name(own_cache, write_photos):
    split = write_photos()
    other = dataclasses.replace(split, labels=split.labels[::-1])
    assert DecodedCache(exact(split), in_memory=True).path == DecodedCache(exact(other), in_memory=True).path


def test_the_second_start_names_images_that_cannot_be_read_too(own_cache, write_photos):
    split = write_photos(6, broken=(1, 4))
    for _ in range(2):
        stored = load_images(exact(split))
        assert stored.positions.tolist() == [0, 2, 3, 5]
        assert stored.unreadable(split) == [(split.paths[1], "truncated"), (split.paths[4], "truncated")]


def test_pixels_that_need_no_decoding_are_not_kept(own_cache):
    split = open_source("digits").splits["val"]
    stored = load_images(exact(split))
    assert not is_from_disk(stored)
    assert np.array_equal(pixels(stored)[0], resize_image(split.read(0), STORED))
    assert files(own_cache) == []
    assert load_from_disk(exact(split)) is None


def test_images_that_change_while_they_are_decoded_are_not_kept(own_cache, write_photos):
    split = write_photos()
    cache = DecodedCache(exact(split), in_memory=True)
    with cache.fill("whole") as filling:
        for kept in decode_all(cache.decoder, filling.target):
            filling.add(kept)
        os.utime(split.paths[3])
        stored = filling.finish()
    assert np.array_equal(pixels(stored), definition(split))
    assert files(own_cache) == []


# ---- damage


def flip_a_bit(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0, 5000, -1, -20, -60])
def test_a_damaged_file_gives_right_pixels_and_is_made_anew_at_the_next_start(own_cache, write_photos, place, capsys):
    split = write_photos()
    load_images(exact(split))
    (name,) = files(own_cache)
    flip_a_bit(own_cache / name, place)
    for _ in range(2):
        assert np.array_equal(pixels(load_images(exact(split))), definition(split))
    assert files(own_cache) == [name]
    assert capsys.readouterr().err.count("were damaged in") == (
        place >= 0
    )  # what is found when a file is opened needs no word
    for path in split.paths:
        overwrite_secretly(path)
    pixels(load_images(exact(split)))  # comes whole from the new file


def test_an_empty_file_is_made_anew(own_cache, write_photos):
    split = write_photos()
    load_images(exact(split))
    (name,) = files(own_cache)
    (own_cache / name).write_bytes(b"")
    assert np.array_equal(pixels(load_images(exact(split))), definition(split))
    assert (own_cache / name).stat().st_size > 10 * 24 * 24 * 3


# ---- room


def size_of(own_cache: Path, split: Split) -> int:
    return DecodedCache(exact(split), in_memory=True).layout.total_bytes


def test_what_lay_unused_longest_goes_first(own_cache, write_photos, monkeypatch):
    splits = [write_photos(seed=k, folder=f"photos{k}") for k in range(4)]
    paths = [DecodedCache(exact(split), in_memory=True).path for split in splits]
    monkeypatch.setenv(LIMIT_VARIABLE, str(3.5 * size_of(own_cache, splits[0]) / 1e9))
    for age, split in zip((300, 200, 100), splits, strict=False):
        load_images(exact(split))
        os.utime(paths[(300 - age) // 100], (time.time() - age,) * 2)
    load_images(exact(splits[0]))  # used again
    load_images(exact(splits[3]))
    assert [path.exists() for path in paths] == [True, False, True, True]


def test_what_is_in_use_never_goes(own_cache, write_photos, monkeypatch, capsys):
    splits = [write_photos(seed=k, folder=f"photos{k}") for k in range(2)]
    monkeypatch.setenv(LIMIT_VARIABLE, str(1.5 * size_of(own_cache, splits[0]) / 1e9))
    used = load_images(exact(splits[0]))
    assert not is_from_disk(load_images(exact(splits[1])))
    assert "other processes use" in capsys.readouterr().err
    assert np.array_equal(pixels(used), definition(splits[0]))
    del used
    assert is_from_disk(load_images(exact(splits[1])))
    assert len(files(own_cache)) == 1


def test_images_beyond_the_limit_are_held_in_memory(own_cache, write_photos, monkeypatch, capsys):
    split = write_photos()
    monkeypatch.setenv(LIMIT_VARIABLE, "0.000001")
    for _ in range(2):
        stored = load_images(exact(split))
        assert not is_from_disk(stored)
        assert np.array_equal(pixels(stored), definition(split))
    assert load_from_disk(exact(split)) is None
    assert capsys.readouterr().err.count(LIMIT_VARIABLE) == 1
    assert files(own_cache) == []


def test_a_limit_of_zero_keeps_nothing_without_a_word(own_cache, write_photos, monkeypatch, capsys):
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    assert not is_from_disk(load_images(exact(write_photos())))
    assert files(own_cache) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_an_error(own_cache, write_photos, monkeypatch, text):
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(UsageError, match=LIMIT_VARIABLE):
        load_images(exact(write_photos()))


@pytest.mark.parametrize("room", [2_000, 17_300])
def test_on_a_full_disk_training_goes_on_without(own_cache, write_photos, disk_with_room_for, capsys, room):
    """Pixels take 17,280 bytes: with the larger room only the end of the file is too much."""
    split = write_photos()
    with disk_with_room_for(room):
        stored = load_images(exact(split))
    assert np.array_equal(pixels(stored), definition(split))
    assert not is_from_disk(stored)
    assert files(own_cache) == []
    assert capsys.readouterr().err.count("not kept for the next start") == 1


def test_a_disk_that_fills_up_on_the_way_is_no_error_either(own_cache, write_photos, disk_with_room_for, capsys):
    split = write_photos()
    cache = DecodedCache(exact(split), in_memory=False)
    stream = StreamCache(exact(split))
    assert stream.open() is None
    rows = decode_all(cache.decoder, stream.target)
    with disk_with_room_for(2_000):
        for kept in rows:
            stream.add(kept)
    assert stream.target is None
    assert stream.open() is None
    assert files(own_cache) == []
    assert "not kept for the next start" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc/featherlight", "{file}/below"])
def test_a_cache_folder_that_cannot_be_written_is_no_error(write_photos, monkeypatch, capsys, place, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FEATHERLIGHT_CACHE", place.format(file=tmp_path / "file"))
    split = write_photos()
    stored = load_images(exact(split))
    assert np.array_equal(pixels(stored), definition(split))
    (line,) = capsys.readouterr().err.splitlines()
    assert "not kept for the next start" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_folder_is_still_read(own_cache, write_photos, capsys):
    known, new = write_photos(seed=1, folder="known"), write_photos(seed=2, folder="new")
    load_images(exact(known))
    own_cache.chmod(0o500)
    try:
        assert is_from_disk(load_images(exact(known)))
        assert capsys.readouterr().err == ""
        assert not is_from_disk(load_images(exact(new)))
        assert "not kept" in capsys.readouterr().err
    finally:
        own_cache.chmod(0o700)


# ---- several processes

SCRIPT = """
    import os, sys, time, zlib
    from dataclasses import dataclass
    import numpy as np
    from featherlight.images import Preprocessing
    from featherlight.loading.decoding import Decoder
    from featherlight.loading.loaded import load_images
    from featherlight.sources.base import Split
    from featherlight.sources.files import FileReader

    paths, pause, log = tuple(sys.argv[3:]), float(sys.argv[1]), sys.argv[2]

    @dataclass(frozen=True)
    class SlowReader(FileReader):
        def __call__(self, index, at_least=0):
            with open(log, "a") as file:
                file.write(f"{index}\\n")
            time.sleep(pause)
            return super().__call__(index, at_least)

    split = Split(np.zeros(len(paths), np.int64), paths, SlowReader(paths))
    stored = load_images(Decoder(split, Preprocessing(24, crop_fraction=1.0), scaled=False))
    print(zlib.crc32(np.stack(stored.take(stored.positions)).tobytes()))
"""


@pytest.fixture
def start() -> Iterator[Callable[[Split, Path, float], subprocess.Popen[str]]]:
    """Starts a process that loads a split, and notes in a log what it decodes, pausing each time."""
    processes: list[subprocess.Popen[str]] = []

    def begin(split: Split, log: Path, pause: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(pause), str(log), *split.paths]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_lines(log: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_two_processes_started_at_once_one_decodes_and_the_other_waits(own_cache, write_photos, tmp_path, start):
    split, log = write_photos(40), tmp_path / "log"
    processes = [start(split, log, 0.02) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert sorted(map(int, log.read_text().split())) == list(range(40))  # each image once, not twice
    assert len(files(own_cache)) == 1
    assert np.array_equal(pixels(load_images(exact(split))), definition(split))


def test_a_process_killed_while_it_decodes_leaves_nothing_that_counts(own_cache, write_photos, tmp_path, start):
    split, log = write_photos(40), tmp_path / "log"
    process = start(split, log, 0.02)
    wait_for_lines(log, 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not [name for name in files(own_cache) if name.endswith(".images")]
    assert np.array_equal(pixels(load_images(exact(split))), definition(split))
    (name,) = files(own_cache)
    assert name.endswith(".images")


def test_what_a_killed_process_left_of_other_images_is_cleared_away(own_cache, write_photos, tmp_path, start):
    first, second = write_photos(40, folder="first"), write_photos(10, seed=1, folder="second")
    process = start(first, tmp_path / "log", 0.02)
    wait_for_lines(tmp_path / "log", 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [name for name in files(own_cache) if name.endswith(".part")]
    load_images(exact(second))
    assert [name.endswith(".images") for name in files(own_cache)] == [True]


def test_a_process_takes_over_from_one_that_is_killed_while_it_waits(own_cache, write_photos, tmp_path, start):
    split, log = write_photos(40), tmp_path / "log"
    first = start(split, log, 1.0)
    wait_for_lines(log, 5)
    second = start(split, log, 0.0)
    _wait_for_the_word(second, "waiting")
    first.kill()
    first.wait()
    assert second.wait(60) == 0
    assert np.array_equal(pixels(load_images(exact(split))), definition(split))
    assert len(files(own_cache)) == 1


def _wait_for_the_word(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"never said: {word}")


def test_ctrl_c_while_decoding_leaves_no_file(own_cache, write_photos, tmp_path, start):
    process = start(write_photos(40), tmp_path / "log", 0.02)
    wait_for_lines(tmp_path / "log", 10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert files(own_cache) == []


# ---- streaming


def test_images_kept_while_they_are_streamed_are_found_by_the_next_start(own_cache, write_photos):
    split = write_photos(10, broken=(2,))
    stream = StreamCache(exact(split))
    assert stream.open() is None
    for kept in decode_all(exact(split), stream.target):
        stream.add(kept)
    good = np.delete(np.arange(10), 2)
    for cache in (stream, StreamCache(exact(split))):
        stored = cache.open()
        assert stored is not None
        assert stored.positions.tolist() == good.tolist()
        assert np.array_equal(pixels(stored), definition(take(split, good)))


def test_a_second_stream_does_not_keep_what_another_is_keeping(own_cache, write_photos):
    split = write_photos()
    first, second = StreamCache(exact(split)), StreamCache(exact(split))
    assert first.open() is None
    assert second.open() is None
    assert first.target is not None
    assert second.target is None
    for kept in decode_all(exact(split), first.target):
        first.add(kept)
    assert second.open() is not None


def test_a_stream_that_is_given_up_leaves_no_file(own_cache, write_photos):
    stream = StreamCache(exact(write_photos()))
    stream.open()
    assert len(files(own_cache)) == 1
    del stream
    assert files(own_cache) == []


# ---- the definition


def test_the_format_number_goes_up_when_the_definition_gives_other_pixels():
    """Files of an older definition must not be found. If this fails because pixels changed on purpose: raise FORMAT."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 70, 3), np.uint8)
    policies = [Preprocessing(24, resize, 0.8) for resize in ("crop", "pad", "stretch")]
    sums = [int(resize_image(image, policy).astype(np.int64).sum()) for policy in policies]
    assert (FORMAT, sums) == (1, [220839, 215710, 220333])
