from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import MissingExtraError, ModelFileError
from featherlight.interop import hdf5
from featherlight.interop.hdf5 import Content, read_hdf5

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def file_with(fill: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def read(data: bytes) -> Content:
    return read_hdf5(Path("w.h5"), data, ("name",), lambda group: group == "optimizer")


def complaint(fill: Callable[[h5py.File], object]) -> str:
    with pytest.raises(ModelFileError) as caught:
        read(file_with(fill))
    return str(caught.value)


@pytest.mark.parametrize("kind", ["f2", ">f4", "f4", "f8", "i4", "u1"])
def test_arrays_come_as_float32_by_path(kind: str) -> None:
    content = read(file_with(lambda file: file.create_dataset("a/b/c", data=WEIGHT.astype(kind))))
    assert content.arrays["a/b/c"].dtype == np.float32
    np.testing.assert_array_equal(content.arrays["a/b/c"], WEIGHT)


def test_compressed_arrays_are_read() -> None:
    content = read(file_with(lambda file: file.create_dataset("w", data=WEIGHT, compression="gzip", shuffle=True)))
    np.testing.assert_array_equal(content.arrays["w"], WEIGHT)


def test_texts_are_read_and_groups_skipped() -> None:
    def fill(file: h5py.File) -> None:
        file.create_group("a").attrs["name"] = "conv"
        file.create_group("b").attrs["name"] = np.bytes_(b"dense")
        file.create_group("c").attrs["name"] = ["a", "list"]
        file["optimizer/w"] = WEIGHT

    content = read(file_with(fill))
    assert content.texts == {"a/name": "conv", "b/name": "dense"}
    assert content.arrays == {}


def test_external_link_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["w"] = WEIGHT
    target = str(tmp_path / "other.h5")
    assert "link to elsewhere" in complaint(lambda file: file.__setitem__("a", h5py.ExternalLink(target, "w")))


def test_soft_link_is_refused() -> None:
    assert "link to elsewhere" in complaint(lambda file: file.__setitem__("a", h5py.SoftLink("/b")))


def test_values_in_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(24))
    external = [(str(tmp_path / "secret"), 0, 24)]
    assert "another file" in complaint(lambda file: file.create_dataset("w", (6,), "f4", external=external))


def test_virtual_arrays_are_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((6,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", (6,))
        file.create_virtual_dataset("w", layout)

    assert "another file" in complaint(fill)


@pytest.mark.parametrize("options", [{}, {"chunks": (1024,)}, {"chunks": (1024,), "compression": "gzip"}])
def test_array_that_announces_more_than_is_stored_is_refused(options: dict[str, object]) -> None:
    assert "announces" in complaint(lambda file: file.create_dataset("w", (2**24,), "f4", **options))


def test_array_beyond_all_bounds_is_refused() -> None:
    assert "more than 1,073,741,824 bytes" in complaint(lambda file: file.create_dataset("w", (2**50,), "f4"))


def test_compression_bomb_is_refused() -> None:
    zeros = np.zeros(2**24, np.float32)
    assert "announces" in complaint(lambda file: file.create_dataset("w", data=zeros, compression="gzip"))


def test_one_array_under_many_names_counts_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_BYTES", 100 * WEIGHT.nbytes)

    def fill(file: h5py.File) -> None:
        file["w"] = WEIGHT
        for i in range(100):
            file[f"w{i}"] = file["w"]

    assert "more than 2,400 bytes" in complaint(fill)


def test_group_within_itself_is_refused() -> None:
    assert "deep" in complaint(lambda file: file.create_group("a").__setitem__("a", file["a"]))


def test_too_many_objects_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 20)

    def fill(file: h5py.File) -> None:
        for i in range(21):
            file.create_group(str(i))

    assert "more than 20 groups" in complaint(fill)


@pytest.mark.parametrize("data", [np.array(["text"], "S4"), np.array([1 + 2j]), np.zeros(2, [("a", "f4")])])
def test_what_is_no_number_is_refused(data: np.ndarray) -> None:
    assert "not numbers" in complaint(lambda file: file.create_dataset("w", data=data))


def test_unusual_compression_is_refused() -> None:
    assert "unusual way" in complaint(lambda file: file.create_dataset("w", data=WEIGHT, compression="lzf"))


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(1000), b"text" * 100])
def test_what_is_no_hdf5_is_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError, match="not a readable HDF5 file"):
        read(data)


@settings(deadline=None)
@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(file_with(lambda file: file.create_dataset("a/w", data=WEIGHT, compression="gzip")))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelFileError):
        read(bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content))


def test_missing_h5py_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "featherlight\[convert\]"'):
        read(b"")
