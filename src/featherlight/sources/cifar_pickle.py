"""Reads the pickles of CIFAR's Python version without letting them do anything else.

A pickle is a program. This reader runs it on a pure Python unpickler (whose memory use follows the file's size, not
numbers the file names) and hands it stand-ins for the four functions the format needs. No NumPy object is built
before its type, shape and length have been checked.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from featherlight.errors import DataError

_MAX_DIMENSIONS = 4


def load_batch(data: bytes | memoryview, name: str) -> dict[str, Any]:
    """Reads one pickled CIFAR dictionary, written by Python 2 or 3.

    Args:
        data: the file's content.
        name: what errors call the file.

    Returns:
        Keys as str; arrays as read-only uint8 arrays; text may be bytes or str.

    Raises:
        DataError: the pickle is damaged, is no dictionary, or asks for anything that the format does not need.
    """
    try:
        content = _Unpickler(io.BytesIO(data), name).load()
        if isinstance(content, dict):
            return {_text(key): _unwrap(value, name) for key, value in content.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise DataError(f"{name}: not a CIFAR file, the pickle is damaged") from error
    raise DataError(f"{name}: not a CIFAR file, the pickle holds no dictionary")


# Private in name, but there in every CPython; the C one allocates memory by numbers that stand in the file.
class _Unpickler(pickle._Unpickler):
    # BYTEARRAY8 alone allocates what the file asks for before it has read it; protocol 2 does not know it.
    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file, encoding="bytes")
        self._name = name

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        stand_in = _ADMITTED.get((module, name))
        if stand_in is None:
            raise DataError(f"{self._name}: refused, the pickle asks for {module}.{name}, which CIFAR does not need")

        def call(*args: object) -> object:  # a fresh function, so that a hostile BUILD changes nothing that stays
            return stand_in(*args)

        return call


class _Array:
    """Stands in for ``numpy.ndarray`` while unpickling; ``None`` until its state was found good."""

    value: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, kind, by_columns, data = state
        if isinstance(data, str):
            data = data.encode("latin-1")
        if not isinstance(kind, _UInt8) or not isinstance(data, bytes) or not _fits(shape, len(data)):
            raise ValueError("not a uint8 array with as many bytes as its shape says")
        self.value = np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _UInt8:
    """Stands in for ``numpy.dtype('u1')``, the only one the format has."""

    def __setstate__(self, state: object) -> None:
        pass  # byte order and the like: a byte has none


def _fits(shape: object, size: int) -> bool:
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        return False
    return all(type(length) is int and 0 <= length <= size for length in shape) and math.prod(shape) == size


def _reconstruct(*_: object) -> _Array:  # type, shape (0,) and typecode are filled in by the state that follows
    return _Array()


def _dtype(kind: object, *_: object) -> _UInt8:
    if _text(kind) not in ("u1", "|u1"):
        raise ValueError("an array of another type than uint8")
    return _UInt8()


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in another encoding than latin-1")
    return text.encode("latin-1")


def _no_array(*_: object) -> object:
    raise ValueError("numpy.ndarray is only named by CIFAR files, never called")


_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _no_array,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _unwrap(value: object, name: str) -> object:
    if not isinstance(value, _Array):
        return value
    if value.value is None:
        raise DataError(f"{name}: not a CIFAR file, an array has no content")
    return value.value
