from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from checkpoint_writer import array_value, checkpoint, content, number, tensor, value, varint, with_crc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featherlight.errors import ModelFileError
from featherlight.interop.mindspore_file import parse_mindspore, read_mindspore
from featherlight.interop.reading import read_weights

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
arrays = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.int64]), hnp.array_shapes(min_dims=0, min_side=0)
)


def complaint(data: bytes) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the caller looks at the message)
        parse_mindspore(data)
    return str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(names, arrays, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_what_is_written_is_read(content: dict[str, np.ndarray], packed: bool, crc: bool) -> None:
    data = b"".join(array_value(tag, array, packed=packed) for tag, array in content.items())
    read = parse_mindspore(with_crc(data) if crc else data)
    assert list(read) == list(content)
    for tag, array in content.items():
        assert read[tag].dtype == array.dtype
        np.testing.assert_array_equal(read[tag], array)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_mindspore(data)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(place: int, byte: int) -> None:
    data = bytearray(checkpoint({"a.weight": WEIGHT, "b.gamma": WEIGHT[0]}))
    data[place % len(data)] = byte
    try:
        read = parse_mindspore(bytes(data))
    except ValueError:
        return
    assert sum(array.nbytes for array in read.values()) <= len(data)


@settings(deadline=None)
@given(st.integers(1, 10_000))
def test_shortened_file_is_refused_or_loses_whole_values(removed: int) -> None:
    first = array_value("a.weight", WEIGHT)
    data = first + array_value("b.gamma", WEIGHT[0])
    try:
        read = parse_mindspore(data[: -(removed % len(data)) or None])
    except ValueError:
        return
    np.testing.assert_array_equal(read["a.weight"], WEIGHT)


def test_parameter_in_several_values_is_put_together() -> None:
    parts = np.array_split(WEIGHT, 2)
    data = b"".join(value("w", tensor(WEIGHT.shape, "Float32", part.tobytes())) for part in parts)
    np.testing.assert_array_equal(parse_mindspore(data)["w"], WEIGHT)


def test_scalars_are_read_as_old_and_new_versions_write_them() -> None:
    five = np.float32(5).tobytes()
    read = parse_mindspore(value("old", tensor([0], "Float32", five)) + value("new", tensor([], "Float32", five)))
    assert (read["old"].shape, float(read["old"])) == ((), 5.0)
    assert (read["new"].shape, float(read["new"])) == ((), 5.0)


def test_bfloat16_becomes_float32() -> None:
    bits = (np.array([1.0, -2.5], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    assert parse_mindspore(value("w", tensor([2], "BFloat16", bits.tobytes())))["w"].tolist() == [1.0, -2.5]


def test_texts_are_left_out() -> None:
    data = value("note", tensor([0], "str", "hi".encode("utf-32-le"))) + array_value("w", WEIGHT)
    assert list(parse_mindspore(data)) == ["w"]


def test_wrong_checksum_is_refused() -> None:
    data = bytearray(with_crc(checkpoint({"w": WEIGHT})))
    data[20] ^= 1
    assert "checksum does not match" in complaint(bytes(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (value("w", tensor([2**40, 2**40], "Float32", b"1234")), "do not fill the shape"),
        (value("w", tensor([2**64 - 1], "Float32", b"1234")), "do not fill the shape"),
        (value("w", tensor([2**63, 0], "Float32", b"")), "do not fill the shape"),
        (value("w", tensor([2], "Float32", b"1234")), "4 bytes do not fill the shape"),
        (value("w", tensor([1] * 9, "Float32", b"1234")), "more than 8 dimensions"),
        (value("w", tensor([1], "Complex64", b"12345678")), "unknown type 'Complex64'"),
        (value("w", number(1, 1) + content(2, b"Float32")), "no content"),
        (value("w", tensor([1], "Float32", b"1234")) * 2 + array_value("w", WEIGHT), "the parts of 'w' differ"),
        (array_value("v", WEIGHT) + array_value("w", WEIGHT) + array_value("v", WEIGHT), "'v' stands there twice"),
        (content(1, content(1, b"w")), "without name or tensor"),
        (content(1, content(1, b"w") + content(3, b"")), "hash table"),
        (content(1, content(1, b"\xff\xfe") + content(2, b"")), "no text"),
        (content(1, content(1, b"x" * 501) + content(2, b"")), "too long"),
        (content(1, number(1, 5)), "no text"),
        (content(1, number(7, 5)), "unexpected field 7"),
        (content(2, b""), "encrypted, or another format"),
        (varint(1 << 3 | 1) + b"12345678", "unexpected wire type 1"),
        (varint(1 << 3 | 2) + varint(2**60), "bytes are announced, 0 are left"),
        (b"\x0a" + b"\xff" * 11, "more than ten bytes"),
        (b"\x0a\xff", "within a number"),
    ],
)
def test_hostile_files_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert reason in complaint(data)


def test_error_names_the_file_and_shows_no_control_characters(tmp_path: Path) -> None:
    file = tmp_path / "w.ckpt"
    file.write_bytes(value("\x1b[31m", tensor([2], "Float32", b"1234")))
    with pytest.raises(ModelFileError, match=r"w\.ckpt: not a readable MindSpore checkpoint") as caught:
        read_mindspore(file)
    assert "\x1b" not in str(caught.value)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_mindspore(tmp_path / "none.ckpt")


def test_checkpoint_is_recognised_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(checkpoint({"a.weight": WEIGHT}))
    weights = read_weights(file)
    assert weights.take("a.weight").tolist() == WEIGHT.tolist()
