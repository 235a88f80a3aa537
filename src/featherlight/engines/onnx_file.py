"""ONNX files looked through before any runtime opens them: bounded, and without the onnx package.

A walk over the protobuf's fields (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that finds metadata, weights
that are kept in other files, and sizes that the file only claims.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from featherlight.errors import ModelFileError

MAX_FILE_BYTES = 2**31 - 1  # a protobuf cannot be larger
MAX_FIELDS = 2_000_000  # a network of 10,000 nodes has about 500,000
MAX_DEPTH = 40  # messages within messages; a graph within a graph is three
MAX_VALUES = 2**31  # of a tensor that the graph declares: 8 GiB in float32
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1

# Message -> number of a field -> the message in it. All other fields are passed over.
_MESSAGES = {
    "Model": {7: "Graph", 14: "Entry", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute", 12: "ValueInfo"},
    "Graph": {1: "Node", 5: "Tensor", 11: "ValueInfo", 12: "ValueInfo", 13: "ValueInfo", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "ValueInfo": {2: "Type"},
    "Type": {1: "TensorType", 8: "TensorType"},
    "TensorType": {2: "Shape"},
    "Shape": {1: "Dimension"},
}
_DATA_FIELDS = (4, 5, 6, 7, 9, 10, 11)  # of a tensor: where its values may stand

Field = tuple[int, int, int, int]  # number, wire type, start and end of bytes (or the value and 0 of a whole number)


class _DamagedError(Exception):
    """The bytes are no protobuf; the message says why."""


@dataclass
class OnnxScan:
    """What was found.

    Attributes:
        metadata: of the model.
        external: files that weights are kept in, as the model names them.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    external: set[str] = field(default_factory=set)


def scan_onnx(path: Path) -> OnnxScan:
    """Looks through a file.

    Raises:
        ModelFileError: it is no ONNX file, is damaged, keeps weights outside its folder, or claims impossible sizes.
    """
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_FILE_BYTES:
            raise ModelFileError(f"{path}: {size:,} bytes; an ONNX file has 1 to {MAX_FILE_BYTES:,}")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            scan = _Walk(data).run()
    except _DamagedError as error:
        raise ModelFileError(f"{path}: not an ONNX file, or damaged ({error})") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    for name in scan.external:
        _check_inside(path, name)
    return scan


def _check_inside(path: Path, name: str) -> None:
    folder = path.parent.resolve()
    try:
        target = (folder / name).resolve()
        is_fine = target.is_relative_to(folder) and target.is_file()
    except (OSError, ValueError):
        is_fine = False
    if not is_fine:
        raise ModelFileError(f"{path}: keeps weights in {name[:80]!a}, which is no file in its own folder; not opened")


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._fields_left = MAX_FIELDS
        self._scan = OnnxScan()

    def run(self) -> OnnxScan:
        if not any(number == 7 for number, *_ in self._fields(0, len(self._data))):
            raise _DamagedError("there is no graph in it")
        self._visit("Model", 0, len(self._data), MAX_DEPTH)
        return self._scan

    def _visit(self, kind: str, start: int, end: int, depth: int) -> None:
        if depth == 0:
            raise _DamagedError(f"more than {MAX_DEPTH} levels")
        if kind == "Entry":
            key, value = self._entry(start, end)
            self._scan.metadata[key] = value
        elif kind == "Tensor":
            self._check_tensor(start, end)
        elif kind == "Shape":
            self._check_shape(start, end)
        else:
            known = _MESSAGES[kind]
            for number, wire, first, last in self._fields(start, end):
                if number in known and wire == _BYTES:
                    self._visit(known[number], first, last, depth - 1)

    def _check_tensor(self, start: int, end: int) -> None:
        dims: list[int] = []
        stored = 0
        is_external = False
        for number, wire, first, last in self._fields(start, end):
            if number == 1:
                dims += [first] if wire == _VARINT else self._packed(first, last)
            elif number in _DATA_FIELDS:
                stored += max(last - first, 1)
            elif number == 13 and wire == _BYTES:
                is_external = True
                key, value = self._entry(first, last)
                if key == "location":
                    self._scan.external.add(value)
            elif number == 14 and first == _EXTERNAL:
                is_external = True
        values = math.prod(dims)
        if values > MAX_VALUES or (values > 2 * stored and not is_external):  # the smallest types have 4 bits
            raise _DamagedError(f"a tensor of {values:,} values in {stored:,} bytes")

    def _check_shape(self, start: int, end: int) -> None:
        values = 1
        for number, wire, first, last in self._fields(start, end):
            if number == 1 and wire == _BYTES:
                sizes = [size for part, kind, size, _ in self._fields(first, last) if (part, kind) == (1, _VARINT)]
                values *= max(sizes, default=1)
        if values > MAX_VALUES:
            raise _DamagedError(f"it declares a tensor of {values:,} values")

    def _entry(self, start: int, end: int) -> tuple[str, str]:
        texts = {
            number: self._data[first:last].decode("utf-8", "replace")
            for number, wire, first, last in self._fields(start, end)
            if wire == _BYTES
        }
        return texts.get(1, ""), texts.get(2, "")

    def _packed(self, start: int, end: int) -> list[int]:
        values = []
        while start < end:
            value, start = self._varint(start, end)
            values.append(value)
        return values

    def _fields(self, start: int, end: int) -> Iterator[Field]:
        while start < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise _DamagedError(f"more than {MAX_FIELDS:,} fields")
            tag, start = self._varint(start, end)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, start = self._varint(start, end)
                yield number, wire, value, 0
                continue
            length, start = self._length(wire, start, end)
            if start + length > end:
                raise _DamagedError("it is cut off")
            yield number, wire, start, start + length
            start += length

    def _length(self, wire: int, start: int, end: int) -> tuple[int, int]:
        if wire == _BYTES:
            return self._varint(start, end)
        if wire in (_FIXED32, _FIXED64):
            return (4 if wire == _FIXED32 else 8), start
        raise _DamagedError(f"field of the unknown type {wire}")

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if start >= end:
                raise _DamagedError("it is cut off")
            byte = self._data[start]
            start += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, start
        raise _DamagedError("a number of more than 64 bits")
