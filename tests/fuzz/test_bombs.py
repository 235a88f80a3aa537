from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from bombs import honest_extremes, make_bombs, png_with
from corpus import encode, png_chunk
from PIL import Image
from processes import run_command, run_python

from featherlight.errors import UnreadableImageError
from featherlight.images import describe_image, limits, load_image

LOOK = """
from pathlib import Path
from featherlight.errors import UnreadableImageError
from featherlight.images import load_image
for path in sys.argv[1:]:
    try:
        print(*load_image(path).shape, flush=True)
    except UnreadableImageError as error:
        print(error.reason, flush=True)
"""
IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from featherlight.images import load_image
with ThreadPoolExecutor(len(sys.argv)) as pool:
    print(set(pool.map(lambda path: load_image(path).shape, sys.argv[1:])))
"""
BASE_MIB, DECODING_MIB = 100, 1800  # NumPy and Pillow; the dearest image of 100 million pixels


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Files, and what the reason for refusing each begins with."""
    folder, reasons = tmp_path_factory.mktemp("bombs"), {}
    for name, (data, reason) in make_bombs().items():
        (folder / name).write_bytes(data)
        reasons[folder / name] = reason
    return reasons


@pytest.fixture(scope="module")
def bombs(reasons: dict[Path, str]) -> list[Path]:
    return list(reasons)


def test_bombs_are_refused_with_little_memory(reasons: dict[Path, str]) -> None:
    outcome = run_python(LOOK, *reasons)
    given = dict(zip(reasons, outcome.out.splitlines(), strict=True))
    assert {path.name: reason for path, reason in given.items() if not reason.startswith(reasons[path])} == {}
    assert outcome.peak_mib < BASE_MIB + 100


def test_bombs_are_error_rows_of_predict_and_findings_of_check(
    bombs: list[Path], tiny_run: Path, tmp_path: Path
) -> None:
    predicted = run_command("predict", tiny_run, bombs[0].parent, "--json")
    assert predicted.code == 1, predicted.err
    rows = [json.loads(line) for line in predicted.out.splitlines()]
    assert {row["path"] for row in rows if "error" in row} == set(map(str, bombs))
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "b").symlink_to(bombs[0].parent)
    checked = run_command("check", tmp_path / "data", "--out", tmp_path / "checked", "--json")
    assert checked.code == 1, checked.err
    findings = json.loads(checked.out)["findings"]
    assert len({path for row in findings if row["kind"] == "unreadable" for path in row["paths"]}) == len(bombs)


def test_what_only_looks_like_a_bomb_is_shown() -> None:
    for name, data in honest_extremes().items():
        assert load_image(data).shape[2] == 3, name
        assert describe_image(data)[2] is (name in ("frames.gif", "pages.tif")), name


@pytest.mark.parametrize("kind", ["comments", "chunks"])
def test_header_in_too_many_pieces_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = {
        "comments": b"GIF89a\2\0\2\0\0\0\0" + b"\x21\xfe\1a\0" * 1000 + b";",
        "chunks": png_with(png_chunk(b"teSt", b"x") * 1000),
    }[kind]
    monkeypatch.setattr(limits, "MAX_READS", 900)
    monkeypatch.setattr(limits, "_COUNTED", 1000)
    with pytest.raises(UnreadableImageError, match="damaged: in more than 900 pieces"):
        load_image(pieces)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "P", {"transparency": bytes([0, 9])}),
        ("JPEG", "CMYK", {"progressive": True, "subsampling": 0}),
        ("WEBP", "RGB", {"lossless": True, "quality": 0, "method": 0}),
        ("TIFF", "F", {"compression": "tiff_lzw"}),
    ],
)
def test_largest_image_takes_bounded_memory(kind: str, mode: str, options: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(encode(Image.new(mode, (10_000, 10_000)), kind, **options))
    outcome = run_python(LOOK, path)
    assert outcome.out == "10000 10000 3\n"
    assert outcome.peak_mib < BASE_MIB + DECODING_MIB


@pytest.mark.slow
def test_large_images_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.new("RGBA", (8000, 8000)), "PNG"))  # alone about 850 MiB
    outcome = run_python(IN_THREADS, *[path] * 5)
    assert outcome.out == "{(8000, 8000, 3)}\n"
    assert outcome.peak_mib < BASE_MIB + 850 + 4 * 190 + 190  # results wait for the others
    assert outcome.peak_mib > 850


def test_large_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "padded.png"
    path.write_bytes(encode(Image.new("RGB", (20, 20)), "PNG"))
    os.truncate(path, 300 * 2**20)
    outcome = run_python(IN_THREADS, *[path] * 5)
    assert outcome.out == "{(20, 20, 3)}\n"
    assert 300 < outcome.peak_mib < BASE_MIB + 300 + 100


def test_fork_while_a_large_image_is_decoded_does_not_wait_for_it() -> None:
    """A data loader's worker starts from a process in which any thread may be decoding."""
    outcome = run_python(
        """
import os, signal
from featherlight.images.limits import in_turn
def work():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        in_turn(lambda: os._exit(0), 10_000, 10_000)
    return os.waitpid(child, 0)[1]
code = in_turn(work, 10_000, 10_000)
"""
    )
    assert outcome.code == 0


def test_endless_standard_input_is_refused(tiny_run: Path) -> None:
    """``featherlight predict RUN - < /dev/zero``, with little memory to fill."""
    little = "import featherlight.workflows.predict as it; it.MAX_FILE_BYTES = 2**24; sys.stdin = open('/dev/zero')"
    outcome = run_command("predict", tiny_run, "-", first=little)
    assert (outcome.code, outcome.err) == (2, "error: standard input: more than 16 MiB; pipe in one image, or paths\n")


def test_pixels_may_be_read_one_by_one() -> None:
    """Pillow does so for this many shades; only headers are counted."""
    side = 1 + int(limits.MAX_READS**0.5)
    image = load_image(b"P5 %d %d 100\n" % (side, side) + bytes([100]) * side**2)
    np.testing.assert_array_equal(image, np.full((side, side, 3), 255))
