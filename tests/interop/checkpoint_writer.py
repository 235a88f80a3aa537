"""MindSpore's checkpoint format, written by hand: an encoder of the few kinds of protobuf fields it has."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_TYPES = {"float32": "Float32", "float16": "Float16", "float64": "Float64", "int32": "Int32", "int64": "Int64"}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def content(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(dims: Sequence[int], kind: str, data: bytes, *, packed: bool = False) -> bytes:
    shape = content(1, b"".join(map(varint, dims))) if packed else b"".join(number(1, size) for size in dims)
    return shape + content(2, kind.encode()) + content(3, data)


def value(tag: str, body: bytes) -> bytes:
    return content(1, content(1, tag.encode()) + content(2, body))


def array_value(tag: str, array: NDArray[np.generic], *, packed: bool = False) -> bytes:
    return value(tag, tensor(array.shape, _TYPES[array.dtype.name], array.tobytes(), packed=packed))


def checkpoint(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    return b"".join(array_value(tag, array) for tag, array in arrays.items())


def with_crc(data: bytes) -> bytes:
    return data + b"crc_num" + zlib.crc32(data).to_bytes(10, "big")
