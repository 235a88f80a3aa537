from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.files import cache_folder
from featherlight.images import load_image
from featherlight.sources.arrays import array_split
from featherlight.sources.base import Split
from featherlight.sources.facts import collect_contents, collect_facts, pixel_hash
from featherlight.sources.files import FileReader

FACTS = "facts-2.sqlite"


def files_split(*paths: Path) -> Split:
    names = tuple(map(str, paths))
    return Split(np.zeros(len(names), np.int64), names, FileReader(names))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, seed: int = 0, size: tuple[int, int] = (40, 30), **options: object) -> Path:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(tmp_path / name, **options)
        return tmp_path / name

    return write


def stored_rows() -> list[tuple]:
    with closing(sqlite3.connect(cache_folder() / FACTS)) as connection:
        return connection.execute("SELECT stamp, pixels FROM facts").fetchall()


def overwrite(column: str, value: object) -> None:
    with closing(sqlite3.connect(cache_folder() / FACTS)) as connection, connection:
        connection.execute(f"UPDATE facts SET {column} = ?", (value,))


def test_facts_say_what_the_image_is(photo: Callable[..., Path]) -> None:
    png, jpeg = photo("a.png"), photo("b.jpg", quality=90)
    facts = collect_facts(files_split(png, jpeg))
    assert facts.readable.all()
    assert facts.pixels.tolist() == [pixel_hash(load_image(png)), pixel_hash(load_image(jpeg))]
    assert facts.sizes.tolist() == [[30, 40], [30, 40]]
    assert (facts.formats, facts.modes) == (("PNG", "JPEG"), ("RGB", "RGB"))
    assert not facts.animated.any()


def test_lossless_copies_share_pixels_but_not_content(photo: Callable[..., Path], tmp_path: Path) -> None:
    png = photo("a.png")
    Image.open(png).save(tmp_path / "b.bmp")
    facts = collect_facts(files_split(png, tmp_path / "b.bmp"))
    assert facts.pixels[0] == facts.pixels[1]
    assert facts.content[0] != facts.content[1]


def test_modes_and_animation_are_seen(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour).convert("P") for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    Image.new("CMYK", (9, 9)).save(tmp_path / "c.jpg")
    facts = collect_facts(files_split(*(tmp_path / name for name in ("a.gif", "b.png", "c.jpg"))))
    assert facts.modes == ("P", "L", "CMYK")
    assert facts.animated.tolist() == [True, False, False]


def test_tones_are_those_of_the_grey_levels(tmp_path: Path) -> None:
    pixels = np.full((10, 20), 200, np.uint8)
    pixels[:, :5] = 40
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.new("RGB", (3, 3), "white").save(tmp_path / "b.png")
    facts = collect_facts(files_split(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "none.png"))
    np.testing.assert_allclose(facts.tones[0], [pixels.mean(), pixels.std(), 40, 200], rtol=1e-6)
    assert facts.tones[1:].tolist() == [[255, 0, 255, 255], [0, 0, 0, 0]]


def test_what_cannot_be_read_has_a_reason_and_is_not_remembered(photo: Callable[..., Path], tmp_path: Path) -> None:
    good = photo("a.png")
    (tmp_path / "empty.png").touch()
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:60])
    os.mkfifo(tmp_path / "pipe.png")
    split = files_split(good, *(tmp_path / f"{name}.png" for name in ("empty", "cut", "pipe", "gone")))
    facts = collect_facts(split)
    assert facts.readable.tolist() == [True, False, False, False, False]
    assert [reason for _, reason in facts.unreadable(split)] == [
        "empty file",
        "truncated",
        "a pipe or a device, not a file",
        "no such file",
    ]
    assert len(stored_rows()) == 1


def test_remembered_images_are_not_decoded_again(photo: Callable[..., Path]) -> None:
    split = files_split(photo("a.png"))
    before = collect_facts(split)
    overwrite("pixels", -5)  # what comes back shows where it came from
    assert collect_facts(split).pixels.tolist() == [2**64 - 5]
    os.utime(split.paths[0], ns=(1, 1))
    assert collect_facts(split).pixels.tolist() == before.pixels.tolist()


def test_large_hashes_survive_the_memory(photo: Callable[..., Path]) -> None:
    paths = [photo(f"{seed}.png", seed) for seed in range(20)]
    split = files_split(*paths)
    first, second = collect_facts(split), collect_facts(split)
    assert first.pixels.max() > 2**63  # SQLite's integers end there
    for name in ("content", "pixels", "looks", "thumbs", "sizes", "animated", "tones", "readable"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert (first.modes, first.formats) == (second.modes, second.formats)


def test_contents_change_with_the_bytes_even_if_the_size_stays(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.bmp" for name in "ab"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (8, 8), colour).save(path)
    assert paths[0].stat().st_size == paths[1].stat().st_size
    one, other = collect_contents(files_split(*paths))
    assert one != other


def test_facts_are_found_for_images_whose_content_alone_is_known(photo: Callable[..., Path]) -> None:
    split = files_split(photo("a.png"))
    contents = collect_contents(split)
    facts = collect_facts(split)
    assert facts.pixels.tolist() == [pixel_hash(load_image(split.paths[0]))]
    assert facts.content.tolist() == contents.tolist()
    collect_contents(split)
    assert [pixels is None for _, pixels in stored_rows()] == [False]


@pytest.mark.parametrize("damage", [b"", b"no database at all, but long enough to be read as a header" * 40])
def test_damaged_memory_is_made_anew(photo: Callable[..., Path], damage: bytes) -> None:
    split = files_split(photo("a.png"))
    facts = collect_facts(split)
    (cache_folder() / FACTS).write_bytes(damage)
    assert collect_facts(split).pixels.tolist() == facts.pixels.tolist()
    collect_facts(split)
    assert len(stored_rows()) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [("pixels", "text"), ("thumb", b"short"), ("mode", 3), ("content", "x"), ("width", 1.5), ("mean", "dark")],
)
def test_rows_that_are_not_ours_do_not_count(photo: Callable[..., Path], column: str, value: object) -> None:
    split = files_split(photo("a.png"))
    facts = collect_facts(split)
    overwrite(column, value)
    again = collect_facts(split)
    assert again.pixels.tolist() == facts.pixels.tolist()
    assert again.sizes.tolist() == facts.sizes.tolist()


def test_memory_that_cannot_be_written_is_done_without(
    photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(photo("file.png") / "below"))
    assert collect_facts(files_split(photo("a.png"))).readable.all()


def _collect(paths: list[str], out: str) -> None:
    Path(out).write_text(str(collect_facts(files_split(*map(Path, paths))).pixels.tolist()))


def test_two_processes_share_the_memory(photo: Callable[..., Path], tmp_path: Path) -> None:
    paths = [str(photo(f"{seed}.png", seed)) for seed in range(30)]
    context = get_context("spawn")
    workers = [context.Process(target=_collect, args=(paths, str(tmp_path / f"out{k}"))) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "out0").read_text() == (tmp_path / "out1").read_text()
    assert len(stored_rows()) == 30


def test_arrays_are_known_by_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    split = array_split(images, np.zeros(4, np.int64), list("abcd"))
    facts = collect_facts(split)
    assert facts.pixels.tolist() == [pixel_hash(image) for image in images] == collect_contents(split).tolist()
    assert facts.formats == ("",) * 4


def test_progress_counts_every_image(photo: Callable[..., Path]) -> None:
    steps: list[int] = []
    collect_facts(files_split(*(photo(f"{seed}.png", seed) for seed in range(5))), steps.append)
    assert sum(steps) == 5
