from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featherlight.errors import ModelFileError, UnreadableImageError, UsageError
from featherlight.images import MAX_PIXELS, Preprocessing, load_image, normalize, resize_image, trim_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)  # taller than wide, no symmetry
SMOOTH = np.stack(np.meshgrid(np.arange(48) * 5, np.arange(32) * 7), axis=-1).astype(np.uint8)
PHOTO = np.concatenate([SMOOTH, SMOOTH[..., :1] // 2], axis=-1)  # (32, 48, 3), survives JPEG


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size in a few bytes, with an empty data chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def reason(image: object) -> str:
    with pytest.raises(UnreadableImageError) as error:
        load_image(image)  # type: ignore[arg-type]
    return error.value.reason


def decode_or_reason(data: bytes) -> np.ndarray | str:
    try:
        return load_image(data)
    except UnreadableImageError as error:  # anything else is a failure
        return error.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    np.testing.assert_array_equal(load_image(encode(Image.fromarray(COLOUR), kind)), COLOUR)


def test_webp_keeps_every_pixel_when_lossless() -> None:
    np.testing.assert_array_equal(load_image(encode(Image.fromarray(COLOUR), "WEBP", lossless=True)), COLOUR)


def test_jpeg_decodes_as_pillow_does() -> None:
    data = encode(Image.fromarray(PHOTO), "JPEG", quality=95)
    np.testing.assert_array_equal(load_image(data), np.array(Image.open(io.BytesIO(data))))


def test_path_bytes_file_picture_and_array_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a b\n.png"
    path.write_bytes(encode(Image.fromarray(COLOUR), "PNG"))
    with path.open("rb") as file:
        file.seek(5)  # wherever the reader stands
        images = [path, str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes()), Image.open(path), COLOUR]
        for image in images:
            np.testing.assert_array_equal(load_image(image), COLOUR)


def test_result_can_be_changed() -> None:
    image = load_image(encode(Image.fromarray(COLOUR), "PNG"))
    image[0, 0] = 0
    assert image[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)])
def test_grey_array_becomes_three_equal_channels(shape: tuple[int, ...]) -> None:
    grey = COLOUR[:, :, 0]
    np.testing.assert_array_equal(load_image(grey.reshape(shape)), np.stack([grey] * 3, axis=-1))


def test_alpha_array_is_composited_on_white() -> None:
    array = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    np.testing.assert_array_equal(load_image(array), [[[255, 255, 255], [10, 20, 30]]])


@pytest.mark.parametrize("array", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4)), np.zeros((1, 2, 3, 3), np.uint8)])
def test_array_that_is_no_image_is_refused(array: np.ndarray) -> None:
    assert "not uint8" in reason(array)


@pytest.mark.parametrize("array", [np.zeros((0, 4), np.uint8), np.zeros((4, 0, 3), np.uint8)])
def test_array_without_pixels_is_refused(array: np.ndarray) -> None:
    assert reason(array) == "has no pixels"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = PHOTO
    stored = {  # what a camera stores so that a viewer's turn gives the upright picture
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    loaded = load_image(encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert loaded.shape == upright.shape
    error = np.abs(loaded.astype(int) - upright)
    assert error.max() <= (6 if kind == "JPEG" else 0)


def test_orientation_of_a_pillow_image_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(encode(Image.fromarray(COLOUR), "PNG", exif=exif)))
    np.testing.assert_array_equal(load_image(opened), np.rot90(COLOUR, -1))


DAMAGED_EXIF = encode(Image.fromarray(PHOTO), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12garbage")


def test_damaged_exif_leaves_the_pixels_as_stored_and_does_not_warn() -> None:
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        stored = np.array(Image.open(io.BytesIO(DAMAGED_EXIF)))
    np.testing.assert_array_equal(load_image(DAMAGED_EXIF), stored)


def test_palette_image_shows_its_colours() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 255, 0], [0, 0, 255]]])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(load_image(encode(image, kind)), expected)


def test_transparent_palette_entry_is_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0])
    for kind in ("PNG", "GIF"):
        np.testing.assert_array_equal(load_image(encode(image, kind, transparency=0)), [[[255] * 3, [0, 255, 0]]])


def test_palette_with_an_alpha_per_entry_is_blended_with_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([0, 0, 0, 0, 255, 0])
    loaded = load_image(encode(image, "PNG", transparency=bytes([128, 255])))
    np.testing.assert_array_equal(loaded, [[[127] * 3, [0, 255, 0]]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    image = Image.fromarray(np.array([[[200, 100, 0, 0], [200, 100, 0, 255], [0, 0, 0, 128]]], np.uint8))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    expected = [[[255] * 3, [200, 100, 0], [127] * 3]]
    np.testing.assert_array_equal(load_image(encode(image, kind, **options)), expected)


def test_grey_with_alpha_and_palette_with_alpha() -> None:
    grey = Image.merge("LA", [Image.new("L", (1, 1), 40), Image.new("L", (1, 1), 0)])
    assert load_image(grey).tolist() == [[[255] * 3]]
    assert load_image(encode(grey, "PNG")).tolist() == [[[255] * 3]]
    palette = Image.frombytes("PA", (2, 1), bytes([1, 0, 1, 255]))
    palette.putpalette([9, 9, 9, 40, 41, 42])
    assert load_image(palette).tolist() == [[[255] * 3, [40, 41, 42]]]
    assert load_image(grey.convert("RGBA").convert("RGBa")).tolist() == [[[255] * 3]]


def test_transparent_colour_of_rgb_and_grey_png_is_white() -> None:
    rgb = encode(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    grey = encode(Image.new("L", (1, 1), 9), "PNG", transparency=9)
    assert load_image(rgb).tolist() == load_image(grey).tolist() == [[[255] * 3]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_shown_in_rgb(kind: str) -> None:
    loaded = load_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind))  # magenta and yellow make red
    np.testing.assert_allclose(loaded, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=2)


@pytest.mark.parametrize("mode", ["1", "YCbCr", "HSV", "LAB", "RGBX"])
def test_rare_modes_come_out_white(mode: str) -> None:
    image = Image.new("RGB", (2, 2), "white").convert(mode)
    np.testing.assert_allclose(load_image(image), np.full((2, 2, 3), 255), atol=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_by_its_full_range(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    by_hand = b"P5\n6 1\n65535\n" + values.astype(">u2").tobytes()  # older versions of Pillow only read it
    loaded = load_image(by_hand if kind == "PPM" else encode(Image.fromarray(values), kind))
    np.testing.assert_array_equal(loaded[..., 0], [[0, 0, 1, 1, 128, 255]])
    np.testing.assert_array_equal(loaded[..., 0], loaded[..., 2])


def test_dark_sixteen_bit_image_stays_dark() -> None:
    data = encode(Image.fromarray(np.array([[0, 200]], np.uint16)), "PNG")
    np.testing.assert_array_equal(load_image(data)[..., 0], [[0, 1]])


def test_big_endian_sixteen_bit_tiff() -> None:
    image = Image.frombytes("I;16B", (2, 1), np.array([257, 65535], ">u2").tobytes())
    np.testing.assert_array_equal(load_image(image)[..., 0], [[1, 255]])
    np.testing.assert_array_equal(load_image(encode(image, "TIFF"))[..., 0], [[1, 255]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([0.0, 32768.0, 65535.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
        ([-np.inf, np.inf, 1.0], [255, 255, 255]),
        ([-5.0, -5.0, -5.0], [0, 0, 0]),
        ([np.nan, np.nan, np.inf], [0, 0, 0]),
    ],
)
def test_float_image_is_scaled_by_the_range_it_uses(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    np.testing.assert_array_equal(load_image(image)[0, :, 0], expected)
    np.testing.assert_array_equal(load_image(encode(image, "TIFF"))[0, :, 0], expected)


def test_int32_image_is_scaled_by_the_range_it_uses() -> None:
    image = Image.fromarray(np.array([[0, 65535 * 65537 // 4, 65535 * 65537 // 2]], np.int32))
    np.testing.assert_array_equal(load_image(encode(image, "TIFF"))[0, :, 0], [0, 128, 255])
    np.testing.assert_array_equal(load_image(Image.fromarray(np.array([[0, 200]], np.int32)))[0, :, 0], [0, 200])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load_image(encode(red, kind, save_all=True, append_images=[blue], **options))
    np.testing.assert_array_equal(loaded, np.broadcast_to([255, 0, 0], (4, 4, 3)))


def test_errors_name_the_file_and_say_why_in_a_few_words(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.png", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("hello, I am no image at all")
    assert reason(empty) == "empty file"
    assert reason(b"") == "empty file"
    assert reason(text).startswith("not an image")
    assert reason(tmp_path / "missing.png") == "no such file"
    assert reason(tmp_path) == "a folder, not an image"
    assert reason(str(tmp_path / "nul\0.png")) == "damaged"
    with pytest.raises(UnreadableImageError, match=r"empty\.png: empty file") as error:
        load_image(empty)
    assert error.value.path == str(empty)
    with pytest.raises(UnreadableImageError, match=r"^upload 3: empty file$"):
        load_image(b"", name="upload 3")


def test_cut_files_are_called_truncated() -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG"):
        data = encode(noise, kind)
        assert reason(data[: len(data) // 2]) == "truncated"
        assert reason(data[:12]).startswith("truncated")


def test_programs_in_disguise_are_not_started() -> None:
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n").startswith("not an image")


ENCODED = {kind: encode(Image.fromarray(PHOTO), kind) for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM")}


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(ENCODED)), st.data())
def test_cut_anywhere_is_an_image_or_unreadable(kind: str, data: st.DataObject) -> None:
    whole = ENCODED[kind]
    cut = data.draw(st.integers(0, len(whole) - 1))
    outcome = decode_or_reason(whole[:cut])
    assert 0 < len(outcome) < 100 if isinstance(outcome, str) else outcome.shape == PHOTO.shape


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(ENCODED)), st.data())
def test_damaged_bytes_are_an_image_or_unreadable(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(ENCODED[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(200, len(damaged) - 1)))] = data.draw(st.integers(0, 255))
    outcome = decode_or_reason(bytes(damaged))
    if isinstance(outcome, str):
        assert 0 < len(outcome) < 100
    else:
        assert outcome.dtype == np.uint8
        assert outcome.ndim == 3
        assert outcome.shape[2] == 3


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_random_bytes_are_unreadable(data: bytes) -> None:
    assert reason(data)


@pytest.mark.parametrize("size", [(10_001, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**24 + 1, 1)])
def test_bombs_are_refused_by_their_header(size: tuple[int, int]) -> None:
    assert reason(png_header(*size)).startswith("too large")


def test_image_just_below_the_limit_is_not_called_a_bomb() -> None:
    assert MAX_PIXELS == 10_000 * 10_000
    assert reason(png_header(10_000, 10_000)) == "truncated"


def test_zero_size_in_header_is_unreadable() -> None:
    assert reason(png_header(0, 5))


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        shapes = set(pool.map(lambda _: load_image(DAMAGED_EXIF).shape, range(400)))
    assert shapes == {PHOTO.shape}
    assert warnings.filters == before


# ---- resize


def test_nothing_to_do_returns_the_image_itself() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for preprocessing in (Preprocessing(8, "crop", 1.0), Preprocessing(8, "pad"), Preprocessing(8, "stretch")):
        assert resize_image(image, preprocessing) is image


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (33, 32), (640, 480), (3, 7), (224, 224)])
def test_every_shape_becomes_square_and_keeps_its_colour(resize: str, shape: tuple[int, int]) -> None:
    mean = (200 / 255, 100 / 255, 50 / 255)
    preprocessing = Preprocessing(64, resize, mean=mean)  # type: ignore[arg-type]
    image = np.broadcast_to(np.array([200, 100, 50], np.uint8), (*shape, 3)).copy()
    result = resize_image(image, preprocessing)
    assert result.shape == (64, 64, 3)
    assert result.dtype == np.uint8
    assert (result == [200, 100, 50]).all()


@pytest.mark.parametrize("shape", [(480, 640), (300, 200), (40, 40), (61, 247)])
@pytest.mark.parametrize("fraction", [1.0, 0.875, 0.5])
def test_crop_is_the_region_of_the_whole_image_resized(shape: tuple[int, int], fraction: float) -> None:
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape) * 56 / round(56 / fraction)
    left, top = (shape[1] - side) / 2, (shape[0] - side) / 2
    box = (left, top, left + side, top + side)
    expected = np.array(Image.fromarray(image).resize((56, 56), Image.Resampling.BILINEAR, box=box))
    result = resize_image(image, Preprocessing(56, "crop", fraction))
    assert np.abs(result.astype(int) - expected).max() <= 1  # Pillow keeps the box in float32


def test_crop_agrees_with_resize_then_centre_crop() -> None:
    image = np.array(Image.fromarray(PHOTO).resize((96, 64), Image.Resampling.BICUBIC))
    resized = np.array(Image.fromarray(image).resize((48, 32), Image.Resampling.BILINEAR))  # shorter side 28 / 0.875
    result = resize_image(image, Preprocessing(28, "crop", 0.875))
    assert np.abs(result.astype(int) - resized[2:30, 10:38]).max() <= 1


def test_pad_centres_the_image_on_the_mean_colour() -> None:
    image = np.full((2, 4, 3), 9, np.uint8)
    result = resize_image(image, Preprocessing(8, "pad", mean=(0.5, 0.0, 1.0)))
    assert (result[2:6] == 9).all()
    assert (result[:2] == [128, 0, 255]).all()
    assert (result[6:] == [128, 0, 255]).all()


def test_grey_mean_pads_grey() -> None:
    result = resize_image(np.zeros((1, 2, 3), np.uint8), Preprocessing(4, "pad", mean=(0.2,), std=(1.0,)))
    assert (result[0] == 51).all()


def test_thread_of_an_image_does_not_explode() -> None:
    thread = np.zeros((4_000_000, 1, 3), np.uint8)  # widened first it would take 2.7 GB
    thread[2_000_000:] = 255
    for resize in ("crop", "pad", "stretch"):
        result = resize_image(thread, Preprocessing(224, resize))  # type: ignore[arg-type]
        assert result.shape == (224, 224, 3)
    assert resize_image(thread, Preprocessing(224, "stretch"))[[0, -1], :, 0].tolist() == [[0] * 224, [255] * 224]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 70),
    st.floats(0.001, 1),
    st.sampled_from(["crop", "pad", "stretch"]),
)
def test_any_size_and_fraction_work(height: int, width: int, size: int, fraction: float, resize: str) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    result = resize_image(image, Preprocessing(size, resize, fraction, mean=(77 / 255,), std=(1.0,)))  # type: ignore[arg-type]
    assert result.shape == (size, size, 3)
    assert (result == 77).all()


# ---- normalisation


def test_normalize_is_scale_mean_std_in_channel_order() -> None:
    images = RNG.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    preprocessing = Preprocessing(4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    result = normalize(images, preprocessing)
    expected = ((images / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(0, 3, 1, 2)
    assert result.shape == (2, 3, 4, 4)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_one_channel_is_pillows_grey() -> None:
    images = RNG.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    preprocessing = Preprocessing(16, mean=(0.0,), std=(1.0,))
    result = normalize(images, preprocessing)
    grey = np.stack([np.array(Image.fromarray(image).convert("L")) for image in images])
    assert preprocessing.in_channels == 1
    np.testing.assert_array_equal(result, (grey[:, None] / np.float32(255)).astype(np.float32))


def test_empty_batch_normalizes_to_an_empty_batch() -> None:
    assert normalize(np.zeros((0, 8, 8, 3), np.uint8), Preprocessing(8)).shape == (0, 3, 8, 8)


# ---- Preprocessing as data


@given(
    st.integers(1, 4096),
    st.sampled_from(["crop", "pad", "stretch"]),
    st.floats(0.001, 1),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_dict_round_trip(size: int, resize: str, fraction: float, channels: int, data: st.DataObject) -> None:
    mean = data.draw(st.tuples(*[st.floats(-1, 2)] * channels))
    std = data.draw(st.tuples(*[st.floats(0.001, 2)] * channels))
    preprocessing = Preprocessing(size, resize, fraction, mean, std)  # type: ignore[arg-type]
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_size", 0),
        ("input_size", 4097),
        ("input_size", 32.0),
        ("input_size", True),
        ("input_size", "32"),
        ("input_size", 10**300),
        ("resize", "squash"),
        ("resize", None),
        ("resize", ["crop"]),
        ("crop_fraction", 0),
        ("crop_fraction", 1.01),
        ("crop_fraction", float("nan")),
        ("crop_fraction", "1"),
        ("mean", []),
        ("mean", [0.5, 0.5]),
        ("mean", 0.5),
        ("mean", "abc"),
        ("mean", [0.5, 0.5, float("inf")]),
        ("mean", [0.5, 0.5, None]),
        ("mean", [0.5]),
        ("std", [1.0, 1.0, 0.0]),
        ("std", [1.0, 1.0, -1.0]),
        ("std", [1.0, 1.0, float("nan")]),
        ("std", [1.0, 1.0, True]),
        ("std", {"a": 1}),
    ],
)
def test_hostile_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ModelFileError, match=r"preprocessing: .*(number|must)"):
        Preprocessing.from_dict({**Preprocessing(32).to_dict(), key: value})


@pytest.mark.parametrize("values", [None, [], "x", {}, {**Preprocessing(32).to_dict(), "extra": 1}, {"input_size": 32}])
def test_unknown_or_missing_fields_are_refused(values: object) -> None:
    with pytest.raises(ModelFileError, match="exactly the fields"):
        Preprocessing.from_dict(values)


def test_wrong_value_in_python_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="input_size must be a whole number from 1 to 4096, not 0"):
        Preprocessing(0)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 60),
    st.sampled_from(["crop", "pad", "stretch"]),
    st.sampled_from([1.0, 0.875, 0.5, 0.03]),
)
def test_trimmed_image_is_resized_to_the_same_pixels(
    height: int, width: int, size: int, resize: str, fraction: float
) -> None:
    preprocessing = Preprocessing(size, resize, fraction)
    image = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    trimmed = trim_image(image, preprocessing)
    np.testing.assert_array_equal(resize_image(trimmed, preprocessing), resize_image(image, preprocessing))
    assert min(trimmed.shape[:2]) == min(height, width)
    if resize != "crop":
        assert trimmed is image


@pytest.mark.parametrize("shape", [(100_000, 1, 3), (1, 100_000, 3)])
def test_long_image_is_trimmed_to_a_few_pixels(shape: tuple[int, int, int]) -> None:
    assert max(trim_image(np.zeros(shape, np.uint8), Preprocessing(224)).shape[:2]) <= 8
