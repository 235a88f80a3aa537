"""Small valid images of every format and variant that is read, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 19, 26  # no symmetry
_NOISE = np.random.default_rng(0).integers(0, 8, (HEIGHT, WIDTH, 2))
_RAMP = (np.stack(np.meshgrid(np.arange(WIDTH) * 9, np.arange(HEIGHT) * 13), axis=-1) + _NOISE).astype(np.uint8)
PHOTO = np.concatenate([_RAMP, 255 - _RAMP[..., :1] // 2], axis=-1)  # (H, W, 3)
ALPHA = np.concatenate([PHOTO, _RAMP[..., 1:]], axis=-1)  # (H, W, 4)
DEEP = _RAMP[..., 0].astype(np.uint16) * 257 + 13


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def make_corpus() -> dict[str, bytes]:
    """Name (``png-interlaced``) -> bytes. The part before the dash is the format."""
    return {**_png(), **_jpeg(), **_webp(), **_bmp(), **_gif(), **_tiff(), **_netpbm()}


def _modes() -> dict[str, Image.Image]:
    rgb = Image.fromarray(PHOTO)
    return {
        "rgb": rgb,
        "rgba": Image.fromarray(ALPHA),
        "grey": rgb.convert("L"),
        "la": Image.fromarray(ALPHA).convert("LA"),
        "bits": rgb.convert("1"),
        "palette": rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=60),
        "deep": Image.fromarray(DEEP),
        "cmyk": rgb.convert("CMYK"),
    }


def _frames(count: int = 3) -> dict[str, object]:
    others = [Image.fromarray(np.roll(PHOTO, 3 * k, axis=1)) for k in range(1, count)]
    return {"save_all": True, "append_images": others}


def _turned(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description"
    return exif


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(
    width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2, interlaced: bool = False
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def _adam7() -> bytes:
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(_rows(PHOTO[top::down, left::right]) for top, left, down, right in passes)


def _png() -> dict[str, bytes]:
    modes = _modes()
    few = modes["rgb"].convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    images = {
        **{f"png-{name}": encode(modes[name], "PNG") for name in ("rgb", "rgba", "grey", "la", "bits", "palette")},
        "png-deep": encode(modes["deep"], "PNG"),
        "png-deep-rgb": raw_png(WIDTH, HEIGHT, _rows(PHOTO.astype(">u2") * 257), depth=16),
        "png-interlaced": raw_png(WIDTH, HEIGHT, _adam7(), interlaced=True),
        "png-two-bits": encode(few, "PNG", bits=2),
        "png-clear-entries": encode(modes["palette"], "PNG", transparency=bytes(range(0, 240, 4))),
        "png-clear-entry": encode(few, "PNG", transparency=1),
        "png-clear-colour": encode(modes["rgb"], "PNG", transparency=tuple(PHOTO[3, 4].tolist())),
        "png-clear-grey": encode(modes["grey"], "PNG", transparency=90),
        "png-animated": encode(modes["rgb"], "PNG", **_frames()),
        "png-turned": encode(modes["rgb"], "PNG", exif=_turned()),
    }
    profile = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(500))) + png_chunk(b"tEXt", b"Author\0nobody")
    images["png-profile"] = images["png-rgb"][:33] + profile + images["png-rgb"][33:]
    return images


def _jpeg() -> dict[str, bytes]:
    modes = _modes()
    return {
        "jpeg-baseline": encode(modes["rgb"], "JPEG"),
        "jpeg-progressive": encode(modes["rgb"], "JPEG", progressive=True, quality=90),
        "jpeg-restarts": encode(modes["rgb"], "JPEG", restart_marker_blocks=1, subsampling=0),
        "jpeg-grey": encode(modes["grey"], "JPEG"),
        "jpeg-cmyk": encode(modes["cmyk"], "JPEG"),
        "jpeg-cmyk-progressive": encode(modes["cmyk"], "JPEG", progressive=True),
        "jpeg-turned": encode(modes["rgb"], "JPEG", exif=_turned(), comment=b"a comment"),
        "jpeg-turned-mirrored": encode(modes["grey"], "JPEG", exif=_turned(5), progressive=True),
        "jpeg-several": encode(modes["rgb"], "MPO", **_frames(2)),
    }


def _webp() -> dict[str, bytes]:
    modes = _modes()
    return {
        "webp-lossy": encode(modes["rgb"], "WEBP"),
        "webp-lossy-alpha": encode(modes["rgba"], "WEBP"),
        "webp-lossless": encode(modes["rgb"], "WEBP", lossless=True),
        "webp-lossless-alpha": encode(modes["rgba"], "WEBP", lossless=True, exact=True),
        "webp-animated": encode(modes["rgb"], "WEBP", lossless=True, **_frames()),
        "webp-turned": encode(modes["rgb"], "WEBP", exif=_turned(3)),
    }


def raw_bmp(width: int, height: int, body: bytes, *, bits: int, compression: int, palette: bytes = b"") -> bytes:
    start = 14 + 40 + len(palette)
    info = (40, width, height, 1, bits, compression, len(body), 0, 0, len(palette) // 4 if bits <= 8 else 0, 0)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(body), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", *info)
        + palette
        + body
    )


def _rle8(pixels: np.ndarray) -> bytes:
    rows = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in pixels[::-1].tolist()]
    return b"".join(rows) + b"\0\1"


def _bmp() -> dict[str, bytes]:
    modes = _modes()
    grey = np.asarray(modes["grey"])
    colours = b"".join(bytes([k, 255 - k, k // 2, 0]) for k in range(256))
    few = b"".join(bytes([WIDTH, 16 * (k % 16) + (k + 1) % 16, 0, 0]) for k in range(HEIGHT)) + b"\0\1"
    return {
        **{f"bmp-{name}": encode(modes[name], "BMP") for name in ("rgb", "rgba", "grey", "bits", "palette")},
        "bmp-runs": raw_bmp(WIDTH, HEIGHT, _rle8(grey), bits=8, compression=1, palette=colours),
        "bmp-runs-four-bits": raw_bmp(WIDTH, HEIGHT, few, bits=4, compression=2, palette=colours[: 16 * 4]),
        "bmp-sixteen-bits": raw_bmp(WIDTH, HEIGHT, (DEEP // 2).tobytes(), bits=16, compression=0),
        "bmp-bit-fields": raw_bmp(
            WIDTH, HEIGHT, DEEP.tobytes(), bits=16, compression=3, palette=struct.pack("<III", 0xF800, 0x7E0, 0x1F)
        ),
        "bmp-top-down": raw_bmp(WIDTH, -HEIGHT, bytes(WIDTH * HEIGHT * 4), bits=32, compression=0),
    }


def _gif() -> dict[str, bytes]:
    modes = _modes()
    return {
        "gif-palette": encode(modes["palette"], "GIF", comment=b"a comment"),
        "gif-plain-order": encode(modes["palette"], "GIF", interlace=0),
        "gif-grey": encode(modes["grey"], "GIF"),
        "gif-clear": encode(modes["palette"], "GIF", transparency=7),
        "gif-animated": encode(modes["rgb"], "GIF", duration=40, loop=0, disposal=2, **_frames()),
    }


def _tiff() -> dict[str, bytes]:
    modes = _modes()
    packed = ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "lzma")  # not zstd: older wheels lack it
    depth = Image.fromarray(PHOTO[..., 0].astype(np.float32) / 255)
    big_endian = Image.frombytes("I;16B", (WIDTH, HEIGHT), DEEP.astype(">u2").tobytes())
    return {
        **{f"tiff-{name}": encode(image, "TIFF") for name, image in modes.items()},
        **{f"tiff-{name}": encode(modes["rgb"], "TIFF", compression=name) for name in packed},
        "tiff-fax3": encode(modes["bits"], "TIFF", compression="group3"),
        "tiff-fax4": encode(modes["bits"], "TIFF", compression="group4"),
        "tiff-lab": encode(modes["rgb"].convert("LAB"), "TIFF"),
        "tiff-pages": encode(modes["rgb"], "TIFF", **_frames()),
        "tiff-float": encode(depth, "TIFF"),
        "tiff-float-packed": encode(depth, "TIFF", compression="tiff_lzw"),
        "tiff-int": encode(Image.fromarray(DEEP.astype(np.int32) * 9 - 50_000), "TIFF"),
        "tiff-deep-big-endian": encode(big_endian, "TIFF"),
        "tiff-big": encode(modes["rgb"], "TIFF", big_tiff=True),
        "tiff-turned": encode(modes["rgb"], "TIFF", exif=_turned()),
        "tiff-tiled": raw_tiff([(322, 16), (323, 16), (324, 8), (325, 512)], bytes(range(256)) * 2, 16, 32),
    }


def raw_tiff(tags: list[tuple[int, int]], body: bytes, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Grey, not compressed; pixels from byte 8 on, the directory behind them."""
    usual = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1}
    entries = sorted({**usual, **dict(tags)}.items())
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(entries)) + directory + bytes(4)
    )


def _netpbm() -> dict[str, bytes]:
    modes = _modes()
    size = b"%d %d\n" % (WIDTH, HEIGHT)
    grey = np.asarray(modes["grey"])
    dark = np.asarray(modes["bits"]) == 0

    def text(values: np.ndarray) -> bytes:
        return b"\n".join(b" ".join(b"%d" % value for value in row) for row in values.reshape(HEIGHT, -1)) + b"\n"

    return {
        "ppm-bits-text": b"P1\n" + size + text(dark),
        "ppm-grey-text": b"P2\n# a comment\n" + size + b"255\n" + text(grey),
        "ppm-deep-text": b"P2\n" + size + b"65535\n" + text(DEEP),
        "ppm-rgb-text": b"P3\n" + size + b"255 # depth\n" + text(PHOTO),
        "ppm-bits": encode(modes["bits"], "PPM"),
        "ppm-grey": encode(modes["grey"], "PPM"),
        "ppm-deep": b"P5\n" + size + b"65535\n" + DEEP.astype(">u2").tobytes(),
        "ppm-rgb": encode(modes["rgb"], "PPM"),
        "ppm-twelve-bits": b"P5\n" + size + b"4095\n" + (DEEP >> 4).astype(">u2").tobytes(),
        "ppm-hundred-shades": b"P6\n" + size + b"100\n" + (PHOTO % 101).tobytes(),
        "ppm-float": encode(Image.fromarray(PHOTO[..., 0].astype(np.float32)), "PPM"),
    }
