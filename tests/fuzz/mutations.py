"""Ways to damage an image file, each determined by a random generator."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from corpus import make_corpus

Rng = np.random.Generator
_PLACES = {  # format -> where its header keeps sizes: (offset, struct code)
    "png": [(16, ">I"), (20, ">I"), (24, "B"), (25, "B"), (33, ">I")],
    "webp": [(4, "<I"), (16, "<I"), (24, "<I"), (26, "<H"), (28, "<H")],
    "bmp": [(2, "<I"), (10, "<I"), (14, "<I"), (18, "<i"), (22, "<i"), (28, "<H"), (30, "<I"), (46, "<I")],
    "gif": [(6, "<H"), (8, "<H"), (10, "B"), (11, "B")],
    "tiff": [(4, "<I")],
}
_EXTRAS = b"Exif EXIF eXIf PLTE tRNS ALPH fcTL acTL ICCP iCCP ANMF \x21\xf9".split()
_ODD_SIZES = (0, 1, 2, 3, 255, 256, 9000, 16383, 40_000, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1)


def make_mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of damaged images; every variant of every format takes its turn, every kind of damage too."""
    corpus = make_corpus()
    names, kinds = sorted(corpus), sorted(MUTATIONS)
    for number in range(count):
        name, kind = names[number % len(names)], kinds[number // len(names) % len(kinds)]
        yield f"{number:05}-{name}-{kind}", mutate(corpus[name], name, kind, np.random.default_rng([seed, number]))


def mutate(data: bytes, name: str, kind: str, rng: Rng) -> bytes:
    """An image, named as in the corpus, with one kind of damage."""
    damaged = MUTATIONS[kind](data, name.partition("-")[0], rng) if data else data
    return with_good_checksums(damaged) if rng.random() < 0.5 else damaged


def with_good_checksums(data: bytes) -> bytes:
    """A PNG whose damage is not given away by its checksums; other formats as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    fixed, position = bytearray(data), 8
    while position + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, position)
        end = position + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[position + 4 : end]))
        position = end + 4
    return bytes(fixed)


def _flip_bits(data: bytes, _: str, rng: Rng) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def _change_header(data: bytes, _: str, rng: Rng) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        damaged[rng.integers(min(len(damaged), 120))] = rng.choice([0, 1, 2, 127, 128, 254, 255, rng.integers(256)])
    return bytes(damaged)


def _truncate(data: bytes, _: str, rng: Rng) -> bytes:
    return data[: rng.integers(len(data))]


def _splice(data: bytes, _: str, rng: Rng) -> bytes:
    """The beginning of one image and the end of another."""
    other = list(make_corpus().values())[rng.integers(len(make_corpus()))]
    return data[: rng.integers(len(data))] + other[rng.integers(len(other)) :]


def _append(data: bytes, _: str, rng: Rng) -> bytes:
    return data + [rng.bytes(300), bytes(300), b"\xff" * 300, data][rng.integers(4)]


def _cut_out(data: bytes, _: str, rng: Rng) -> bytes:
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 40) :]


def _insert(data: bytes, _: str, rng: Rng) -> bytes:
    start, size = rng.integers(len(data)), int(rng.integers(1, 60))
    return data[:start] + [rng.bytes(size), bytes(size), b"\xff" * size][rng.integers(3)] + data[start:]


def _overwrite(data: bytes, _: str, rng: Rng) -> bytes:
    start, size = rng.integers(len(data)), int(rng.integers(1, 60))
    return data[:start] + [rng.bytes(size), bytes(size), b"\xff" * size][rng.integers(3)] + data[start + size :]


def _change_size(data: bytes, kind: str, rng: Rng) -> bytes:
    """Another width, height, depth, offset or length where the format keeps it; often a huge one."""
    places = _PLACES.get(kind) or _marks(data, kind)
    damaged = bytearray(data)
    if kind == "tiff":
        places = _entries(data)
    for _ in range(rng.integers(1, 3)):
        offset, code = places[rng.integers(len(places))]
        odd = int(_ODD_SIZES[rng.integers(len(_ODD_SIZES))])
        limit = 256 ** struct.calcsize(code)
        value = odd % limit - (limit if code == "<i" and odd % limit >= limit // 2 else 0)
        if offset + struct.calcsize(code) <= len(damaged):
            struct.pack_into(code, damaged, offset, value)
    return with_good_checksums(bytes(damaged))


def _marks(data: bytes, kind: str) -> list[tuple[int, str]]:
    """JPEG: the lengths of its segments, and height and width. Netpbm: the digits of its header."""
    if kind != "jpeg":
        return [(offset, "B") for offset in range(2, 14)]
    starts = [start for start in range(2, len(data) - 4) if data[start] == 0xFF and 0xC0 <= data[start + 1] < 0xFF]
    frame = [start for start in starts if data[start + 1] in (0xC0, 0xC2)]
    return [(start + 2, ">H") for start in starts] + [(start + k, ">H") for start in frame for k in (5, 7)] * 4


def _entries(data: bytes) -> list[tuple[int, str]]:
    """TIFF: type, count and value of each entry of the first directory, and the directory's place."""
    order = ">" if data.startswith(b"MM") else "<"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    count = min(struct.unpack_from(f"{order}H", data, start)[0], (len(data) - start - 6) // 12)
    fields = ((2, "H"), (4, "I"), (8, "I"))
    entries = [(start + 2 + 12 * k + at, order + code) for k in range(count) for at, code in fields]
    return [(4, f"{order}I"), *entries]


def _pieces(data: bytes, kind: str) -> list[bytes]:
    """The head and the chunks of a PNG or WebP, the segments of a JPEG; of others equal parts."""
    if kind in ("png", "webp"):
        start, code, extra = (8, ">I", 12) if kind == "png" else (12, "<I", 8)
        cuts, at = [start], 0 if kind == "png" else 4
        while cuts[-1] + 8 <= len(data):
            (length,) = struct.unpack_from(code, data, cuts[-1] + at)
            cuts.append(cuts[-1] + length + length % 2 * (kind == "webp") + extra)
    elif kind == "jpeg":
        cuts = [k for k in range(2, len(data) - 1) if data[k] == 0xFF and data[k + 1] not in (0, 0xFF)]
    else:
        cuts = [len(data) * k // 8 for k in range(1, 8)]
    edges = [0, *cuts, len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def _shuffle_chunks(data: bytes, kind: str, rng: Rng) -> bytes:
    """Two chunks trade places, or one is left out, or one comes twice."""
    head, *pieces = _pieces(data, kind)
    one, other = rng.integers(len(pieces)), rng.integers(len(pieces))
    if (action := rng.integers(3)) == 0:
        pieces[one], pieces[other] = pieces[other], pieces[one]
    elif action == 1:
        del pieces[one]
    else:
        pieces.insert(one, pieces[other])
    return head + b"".join(pieces)


def _damage_extras(data: bytes, kind: str, rng: Rng) -> bytes:
    """EXIF, palette and transparency: bytes of them change, or odd ones are put in."""
    marks = (
        b"Exif",
        b"EXIF",
        b"eXIf",
        b"PLTE",
        b"tRNS",
        b"ALPH",
        b"fcTL",
        b"acTL",
        b"ICCP",
        b"iCCP",
        b"ANMF",
        b"\x21\xf9",
    )
    found = [data.find(mark) for mark in marks if mark in data]
    if kind == "png" and (not found or rng.random() < 0.5):
        name = [b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fcTL"][rng.integers(5)]
        odd = rng.bytes([0, 1, 2, 3, 6, 7, 26, 256, 257, 768, 769][rng.integers(11)])
        return (
            data[:33] + struct.pack(">I", len(odd)) + name + odd + struct.pack(">I", zlib.crc32(name + odd)) + data[33:]
        )
    start = found[rng.integers(len(found))] if found else len(data) // 2
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        damaged[min(start + int(rng.integers(60)), len(data) - 1)] = rng.integers(256)
    return bytes(damaged)


MUTATIONS: dict[str, Callable[[bytes, str, Rng], bytes]] = {
    "append": _append,
    "bits": _flip_bits,
    "chunks": _shuffle_chunks,
    "cut": _cut_out,
    "extras": _damage_extras,
    "header": _change_header,
    "insert": _insert,
    "overwrite": _overwrite,
    "sizes": _change_size,
    "splice": _splice,
    "truncate": _truncate,
}
FREE_OF_FORMAT = ("append", "bits", "cut", "header", "insert", "overwrite", "splice", "truncate")
