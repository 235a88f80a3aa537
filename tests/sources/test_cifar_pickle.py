from __future__ import annotations

import os
import pickle
import resource
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import DataError
from featherlight.sources.cifar_pickle import load_batch

DATA = np.arange(12, dtype=np.uint8).reshape(2, 6)
GOOD = pickle.dumps({b"data": DATA, b"labels": [3, 1], b"filenames": [b"a.png", b"b.png"]}, protocol=2)


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> object:
        return self.reduced


def python2_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text  # SHORT_BINSTRING, which Python 3 never writes


def python2_array(shape: bytes, data: bytes, kind: bytes = b"u1", module: bytes = b"numpy.core.multiarray") -> bytes:
    """As cPickle of Python 2 wrote NumPy arrays in 2009."""
    return (
        b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + python2_string(b"b") + b"\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + python2_string(kind) + b"K\x00K\x01\x87R"
        b"(K\x03" + python2_string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89" + python2_string(data) + b"tb"
    )


def python2_batch(array: bytes) -> bytes:
    labels = b"](K\x03K\x01e"
    return b"\x80\x02}(" + python2_string(b"data") + array + python2_string(b"labels") + labels + b"u."


SHAPE = b"K\x02K\x06\x86"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_written_by_python_3(protocol: int) -> None:
    content = {b"data": DATA, b"labels": [3, 1], "text": "x"}
    loaded = load_batch(pickle.dumps(content, protocol=protocol), "f")
    np.testing.assert_array_equal(loaded["data"], DATA)
    assert loaded["labels"] == [3, 1]
    assert loaded["text"] == "x"


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_batches_written_by_python_2(module: bytes) -> None:
    data = python2_batch(python2_array(SHAPE, DATA.tobytes(), module=module))
    assert pickle.loads(data, encoding="bytes")[b"labels"] == [3, 1]  # it is a real pickle
    loaded = load_batch(data, "f")
    np.testing.assert_array_equal(loaded["data"], DATA)
    assert loaded["data"].dtype == np.uint8
    assert loaded["labels"] == [3, 1]


def test_array_stored_by_columns() -> None:
    loaded = load_batch(pickle.dumps({b"data": np.asfortranarray(DATA)}, protocol=2), "f")
    np.testing.assert_array_equal(loaded["data"], DATA)


@pytest.mark.parametrize(
    ("hostile", "named"),
    [
        (Call(os.system, "touch {marker}"), "posix.system"),
        (Call(eval, "open('{marker}', 'w')"), "__builtin__.eval"),
        (Call(exec, "open('{marker}', 'w')"), "__builtin__.exec"),
        (Call(getattr, os, "system"), "__builtin__.getattr"),
        (Call(np.load, "{marker}"), "numpy.*load"),
        (Call(np.fromfile, "{marker}"), "numpy.*fromfile"),
    ],
)
def test_forbidden_globals_are_refused_by_name_and_not_run(tmp_path: Path, hostile: Call, named: str) -> None:
    if named == "__builtin__.getattr":
        hostile = Call(getattr, 1, "real")  # modules cannot be pickled; any object shows the same
    marker = tmp_path / "marker"
    function, arguments = hostile.reduced
    filled = [a.format(marker=marker) if isinstance(a, str) else a for a in arguments]
    for protocol in (0, 2, 4):
        data = pickle.dumps({b"data": Call(function, *filled)}, protocol=protocol)
        with pytest.raises(DataError, match=f"evil: refused, the pickle asks for ({named}|builtins)"):
            load_batch(data, "evil")
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
        b"\x80\x02(cposix\nsystem\nU\x04trueo.",
        b"\x80\x02c_codecs\nlookup\nU\x04utf8\x85R.",
        b"\x80\x02cnumpy\nndarray.__reduce__\n.",
    ],
)
def test_every_way_to_name_a_global_is_guarded(data: bytes) -> None:
    with pytest.raises(DataError, match="refused, the pickle asks for"):
        load_batch(data, "evil")


def build(state: bytes) -> bytes:
    return b"\x80\x02}" + python2_string(b"data") + state + b"s."


HUGE = b"\x8a\x06" + (10**12).to_bytes(6, "little")


@pytest.mark.parametrize(
    "array",
    [
        python2_array(HUGE + b"\x85", b"abc"),
        python2_array(b"K\x02K\x07\x86", DATA.tobytes()),
        python2_array(b"J\xff\xff\xff\xffJ\xf4\xff\xff\xff\x86", DATA.tobytes()),
        python2_array(b"K\x0c\x85" + b"\x85", DATA.tobytes()),
        python2_array(b"(" + b"K\x01" * 60 + b"t", b"a"),
        python2_array(SHAPE, DATA.tobytes(), kind=b"O8"),
        python2_array(SHAPE, DATA.tobytes(), kind=b"f8"),
        python2_array(SHAPE, DATA.tobytes(), kind=b"V1000000000000"),
        b"cnumpy\nndarray\n" + HUGE + b"\x85\x85R",
        b"cnumpy\ndtype\n" + python2_string(b"O") + b"\x85R",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aU\x03zip\x86R",
        b"cnumpy.core.multiarray\n_reconstruct\nK\x00\x85R}b",
        b"cnumpy.core.multiarray\n_reconstruct\n}U\x01aK\x01sN\x86b)R(K\x01K\x02tb",
    ],
)
def test_hostile_arrays_are_refused_without_memory(array: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="evil: not a CIFAR file"):
        load_batch(build(array), "evil")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02N" + b"r" + struct.pack("<I", 2**32 - 1) + b".",  # memo slot four thousand million
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # bytes that are not there
        b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"abc.",  # bytearray, filled with zeros first
        b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
    ],
)
def test_sizes_named_in_the_file_allocate_nothing(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="evil: not a CIFAR file"):
        load_batch(data, "evil")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_hostile_state_leaves_no_trace_behind() -> None:
    poison = b"cnumpy.core.multiarray\n_reconstruct\n(N}U\x0c__defaults__K\x07\x85stb"
    with pytest.raises(DataError):
        load_batch(build(poison) + b"garbage", "evil")
    np.testing.assert_array_equal(load_batch(GOOD, "f")["data"], DATA)


@pytest.mark.parametrize("content", [[1], 5, "x", None])
def test_pickle_of_something_else_is_refused(content: object) -> None:
    with pytest.raises(DataError, match="f: not a CIFAR file, the pickle holds no dictionary"):
        load_batch(pickle.dumps(content, protocol=2), "f")


def test_array_without_content_is_refused() -> None:
    with pytest.raises(DataError, match="not a CIFAR file, an array has no content"):
        load_batch(build(b"cnumpy.core.multiarray\n_reconstruct\n)R"), "f")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_pickles_are_a_dictionary_or_a_data_error(data: st.DataObject) -> None:
    damaged = bytearray(GOOD[: data.draw(st.integers(0, len(GOOD)))])
    if damaged:
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):  # anything else is a failure
        assert isinstance(load_batch(bytes(damaged), "f"), dict)
