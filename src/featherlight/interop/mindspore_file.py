"""MindSpore's ``.ckpt`` without MindSpore: its protobuf, read field by field, nothing taken on trust.

The messages, as ``mindspore.save_checkpoint`` writes them (``checkpoint.proto``, proto2)::

    Checkpoint  { repeated Value value = 1 }
    Value       { string tag = 1; TensorProto tensor = 2; MapTensorProto maptensor = 3 }
    TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }

Three messages of three fields need no protobuf runtime, and read this way nothing is allocated that the file does not
hold: an array is a view of its bytes. A parameter above 512 MiB stands in several values of one tag. With ``crc_check``
the file ends in ``crc_num`` and ten bytes of CRC-32.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from featherlight.errors import ModelFileError
from featherlight.interop.weights import Weights

MAX_FILE_BYTES = 2**30
MAX_VALUES = 100_000  # with optimiser state, a parameter stands there up to four times
MAX_NAME = 500
MAX_DIMS = 8
_CRC_MARK, _CRC_LENGTH = b"crc_num", 17

_TYPES = {
    "Float16": "<f2", "Float32": "<f4", "Float64": "<f8", "BFloat16": "<u2", "Bool": "?",
    "Int8": "<i1", "Int16": "<i2", "Int32": "<i4", "Int64": "<i8",
    "UInt8": "<u1", "UInt16": "<u2", "UInt32": "<u4", "UInt64": "<u8",
}  # fmt: skip

Arrays = dict[str, NDArray[Any]]


class _FormatError(ValueError):
    """What is wrong, in a few words."""


@dataclass(frozen=True)
class _Value:
    tag: str
    dims: tuple[int, ...]
    kind: str
    content: memoryview


def is_mindspore(path: Path, start: bytes) -> bool:
    """Whether a file begins as a list of tensors does, or is called ``.ckpt`` and no zip (PyTorch Lightning's)."""
    return start.startswith(b"\n") or (path.suffix == ".ckpt" and not start.startswith(b"PK"))


def read_weights(path: Path) -> Weights:
    """As :func:`read_mindspore`, as tensors."""
    return Weights({name: torch.from_numpy(np.array(array)) for name, array in read_mindspore(path).items()})


def read_mindspore(path: Path) -> Arrays:
    """Reads the tensors of a MindSpore checkpoint, by parameter name, in the file's order.

    Texts that ``append_dict`` stored are left out; BFloat16 becomes float32.

    Raises:
        ModelFileError: no MindSpore checkpoint, damaged, encrypted, or too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path}: {size:,} bytes; checkpoints up to {MAX_FILE_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return parse_mindspore(data)
    except _FormatError as error:
        raise ModelFileError(f"{path}: not a readable MindSpore checkpoint ({error})") from error


def parse_mindspore(data: bytes) -> Arrays:
    """As :func:`read_mindspore`, from bytes.

    Raises:
        ValueError: with the reason, a few words.
    """
    chunks: dict[str, list[_Value]] = {}
    last = ""
    for value in _values(_without_crc(memoryview(data))):
        if value.tag in chunks and value.tag != last:
            raise _FormatError(f"{_shown(value.tag)} stands there twice")
        chunks.setdefault(value.tag, []).append(value)
        last = value.tag
    if not chunks:
        raise _FormatError("it is empty")
    return {tag: _array(tag, parts) for tag, parts in chunks.items() if parts[0].kind != "str"}


def _without_crc(data: memoryview) -> memoryview:
    if bytes(data[-_CRC_LENGTH : -_CRC_LENGTH + len(_CRC_MARK)]) != _CRC_MARK:
        return data
    body, stated = data[:-_CRC_LENGTH], int.from_bytes(data[-_CRC_LENGTH + len(_CRC_MARK) :], "big")
    if zlib.crc32(body) != stated:
        raise _FormatError("its checksum does not match: damaged or cut off")
    return body


def _values(data: memoryview) -> Iterator[_Value]:
    for count, (number, field) in enumerate(_fields(data)):
        if number != 1 or not isinstance(field, memoryview):
            raise _FormatError("other content than a list of tensors; is it encrypted, or another format?")
        if count >= MAX_VALUES:
            raise _FormatError(f"more than {MAX_VALUES:,} values")
        yield _value(field)


def _value(data: memoryview) -> _Value:
    tag, tensor = None, None
    for number, field in _fields(data):
        if number == 1:
            tag = _text(field, "a name")
        elif number == 2 and isinstance(field, memoryview):
            tensor = field
        elif number == 3:
            raise _FormatError("it holds a hash table of embeddings (MapParameter), which no image classifier has")
        else:
            raise _FormatError(f"unexpected field {number} in a value")
    if tag is None or tensor is None:
        raise _FormatError("a value without name or tensor")
    return _tensor(tag, tensor)


def _tensor(tag: str, data: memoryview) -> _Value:
    dims: list[int] = []
    kind, content = "", None
    for number, field in _fields(data):
        if number == 1:
            dims += [field] if isinstance(field, int) else _packed(field)
        elif number == 2:
            kind = _text(field, "a type")
        elif number == 3 and isinstance(field, memoryview):
            content = field
        else:
            raise _FormatError(f"unexpected field {number} in the tensor {_shown(tag)}")
        if len(dims) > MAX_DIMS:
            raise _FormatError(f"{_shown(tag)} has more than {MAX_DIMS} dimensions")
    if content is None or kind not in (*_TYPES, "str"):
        raise _FormatError(f"{_shown(tag)} has no content or the unknown type {_shown(kind)}")
    return _Value(tag, tuple(dims), kind, content)


def _array(tag: str, parts: list[_Value]) -> NDArray[Any]:
    first = parts[0]
    if any((part.dims, part.kind) != (first.dims, first.kind) for part in parts):
        raise _FormatError(f"the parts of {_shown(tag)} differ in shape or type")
    content = first.content if len(parts) == 1 else b"".join(part.content for part in parts)
    dtype = np.dtype(_TYPES[first.kind])
    # Python's whole numbers do not overflow, so a shape that is too large is found here.
    dims = () if first.dims == (0,) and len(content) == dtype.itemsize else first.dims  # how scalars are written
    if any(size >= 2**63 for size in dims) or math.prod(dims) * dtype.itemsize != len(content):
        raise _FormatError(f"{_shown(tag)}: {len(content):,} bytes do not fill the shape {_shown(str(dims))}")
    array = np.frombuffer(content, dtype).reshape(dims)
    return _from_bfloat16(array) if first.kind == "BFloat16" else array


def _from_bfloat16(array: NDArray[Any]) -> NDArray[np.float32]:
    return (array.astype(np.uint32) << 16).view(np.float32)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number and value, an integer or the bytes of a field with a length."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if length > len(data) - at:
                raise _FormatError(f"{length:,} bytes are announced, {len(data) - at:,} are left: cut off")
            yield number, data[at : at + length]
            at += length
        else:
            raise _FormatError(f"unexpected wire type {wire}")


def _packed(data: memoryview) -> list[int]:
    values: list[int] = []
    at = 0
    while at < len(data) and len(values) <= MAX_DIMS:
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _FormatError("it ends within a number: cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise _FormatError("a number of more than ten bytes")


def _text(field: int | memoryview, what: str) -> str:
    if isinstance(field, int) or len(field) > MAX_NAME:
        raise _FormatError(f"{what} that is no text, or is too long")
    try:
        return bytes(field).decode()
    except UnicodeDecodeError as error:
        raise _FormatError(f"{what} that is no text") from error


def _shown(text: str) -> str:
    return ascii(text[:60])
