"""Images that are small to send and huge, or slow, to decode."""

from __future__ import annotations

import struct
import zlib

from corpus import encode, make_corpus, png_chunk, raw_bmp, raw_tiff
from PIL import Image

SIDE = 50_000  # 2.5 billion pixels
_PNG, _JPEG, _WEBP = (make_corpus()[name] for name in ("png-rgb", "jpeg-baseline", "webp-animated"))
_PNG_HEADER_END = 33


def png_with(extra: bytes) -> bytes:
    """A small PNG with more chunks behind its header."""
    return _PNG[:_PNG_HEADER_END] + extra + _PNG[_PNG_HEADER_END:]


def huge_png() -> bytes:
    rows = zlib.compress(bytes(10 * (3 * SIDE + 1)), 9)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def gif(width: int, height: int, *, frames: int = 1, before: bytes = b"") -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + _GIF_PIXELS
    return head + before + frame * frames + b";"


_GIF_PIXELS = b"\x02\x03\x84\x8f\x05\x00"  # 2 x 2


def huge_webp() -> bytes:
    side = struct.pack("<I", 2**14 - 2)[:3]
    start = _WEBP.index(b"VP8X") + 12
    return _WEBP[:start] + side + side + _WEBP[start + 6 :]


def jpeg_with(extra: bytes) -> bytes:
    """A small JPEG with more behind its first marker."""
    return _JPEG[:2] + extra + _JPEG[2:]


def jpeg_of_scans(side: int, scans: int, *, progressive: bool) -> bytes:
    """Every scan is a few bytes, and visits every pixel."""
    frame = struct.pack(">BHHB", 8, side, side, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    tables = [b"\xff\xc4" + struct.pack(">HB", 20, kind) + bytes([1, *[0] * 16]) for kind in (0x00, 0x10)]
    head = b"\xff\xd8\xff\xdb\x00\x43\x00" + b"\x01" * 64 + (b"\xff\xc2" if progressive else b"\xff\xc0")
    first = b"\xff\xda" + struct.pack(">HB", 12, 3) + bytes([1, 0, 2, 0, 3, 0, 0, 0, 0])
    more = [_scan(1 if progressive else 1 + k % 3, int(progressive)) for k in range(scans - progressive)]
    return head + struct.pack(">H", 17) + frame + b"".join([*tables, first * progressive, *more]) + b"\xff\xd9"


def _scan(component: int, start: int) -> bytes:
    return b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([component, 0, start, 63, 0]) + bytes(4)


def tiff_of_strips(count: int) -> bytes:
    """Each strip is a byte of a list of places."""
    return _with_list(raw_tiff([(273, 0), (278, 1)], b"\x08" * count, 4, 4), 273, kind=1, count=count, place=8)


def _with_list(tiff: bytes, tag: int, **entry: int) -> bytes:
    """The entry ``tag`` says where a list is."""
    start = tiff.index(struct.pack("<HHI", tag, 4, 1), struct.unpack_from("<I", tiff, 4)[0])
    return tiff[:start] + struct.pack("<HHII", tag, entry["kind"], entry["count"], entry["place"]) + tiff[start + 12 :]


def tiff_of_pages(count: int) -> bytes:
    """Directories that each lead to the next."""
    page = raw_tiff([(273, 8), (279, 16)], b"\x50" * 16, 4, 4)
    directory = page[24:-4]
    step = len(directory) + 4
    chained = [directory + struct.pack("<I", 24 + step * k) for k in range(1, count)]
    return page[:24] + b"".join(chained) + directory + bytes(4)


def tiff_of_one_tile(side: int) -> bytes:
    """16 x 16 pixels out of a tile of ``side`` x ``side``."""
    packer = zlib.compressobj(9)
    tile = b"".join(packer.compress(bytes(side)) for _ in range(side)) + packer.flush()
    tags = [(259, 8), (322, side), (323, side), (324, 8), (325, len(tile))]
    return raw_tiff(tags, tile, 16, 16)


def make_bombs() -> dict[str, tuple[bytes, str]]:
    """By name: bytes, and what the reason begins with."""
    return {
        "huge.png": (huge_png(), "too large"),
        "huge.gif": (gif(SIDE, SIDE), "too large"),
        "huge.webp": (huge_webp(), "too large"),
        "huge.tif": (raw_tiff([(273, 8), (278, SIDE)], bytes(64), SIDE, SIDE), "too large"),
        "huge.bmp": (raw_bmp(SIDE, SIDE, bytes(64), bits=24, compression=0), "too large"),
        "huge.ppm": (b"P6 50000 50000 255\n" + bytes(64), "too large"),
        "text.png": (png_with(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9))), "damaged"),
        "texts.png": (png_with(png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6), 9)) * 3000), "damaged"),
        "international.png": (png_with(png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(2**26), 9))), "damaged"),
        "profile.png": (png_with(png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26), 9))), "damaged"),
        "scans.jpg": (jpeg_of_scans(9000, 50_000, progressive=True), "damaged: a JPEG of more"),
        "plain-scans.jpg": (jpeg_of_scans(9000, 50_000, progressive=False), "damaged: a JPEG of more"),
        "segments.jpg": (jpeg_with(b"\xff\xfe\0\2" * 10**6), "damaged: a JPEG of more"),
        "exif.jpg": (jpeg_with((b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 600), "damaged: a JPEG of more"),
        "fill.jpg": (jpeg_with(b"\xff" * 5_000_000), "damaged: in more than"),
        "strips.tif": (tiff_of_strips(3_000_000), "damaged: a TIFF directory"),
        "tile.tif": (tiff_of_one_tile(20_000), "damaged: tiles"),
        "runs.bmp": (
            raw_bmp(9000, 9000, b"\1\5\0\0" * 9000, bits=8, compression=1, palette=bytes(1024)),
            "too large: a BMP",
        ),
        "comments.pbm": (b"P1 3000 3000\n" + b"1#\n" * 10**6, "damaged: more than"),
    }


def honest_extremes() -> dict[str, bytes]:
    """What looks like a bomb and is cheap to show."""
    small = encode(Image.new("RGB", (16, 16), "red"), "JPEG")
    return {
        "frames.gif": gif(2, 2, frames=100_000),
        "pages.tif": tiff_of_pages(300_000),
        "scans.jpg": jpeg_of_scans(64, 100, progressive=True),
        "film.jpg": small * 2000,
        "segments.jpg": jpeg_with(b"\xff\xfe\0\2" * 400),
        "comments.pgm": b"P2 16 16 255\n" + b"255 # white\n" * 256,
    }
