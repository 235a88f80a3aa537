from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.errors import ModelFileError
from featherlight.interop import keras_file
from featherlight.interop.keras_file import KerasFile, natural_key, read_keras
from featherlight.interop.reading import read_weights

KERNEL = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)


def hdf5(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return stream.getvalue()


WEIGHTS = hdf5({"layers/conv2d/vars/0": KERNEL})
CONFIG = json.dumps({"class_name": "Functional", "config": {"layers": []}}).encode()


def keras(path: Path, members: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_keras_zip_is_read(tmp_path: Path, compression: int) -> None:
    members = (("config.json", CONFIG), ("model.weights.h5", WEIGHTS), ("assets/x", b"y"))
    found: KerasFile = read_keras(keras(tmp_path / "m.keras", members, compression))
    assert found.config == json.loads(CONFIG)
    assert [(layer.name, layer.kind, list(layer.arrays)) for layer in found.layers] == [
        ("conv2d", "conv2d", ["kernel"])
    ]


def test_nothing_outside_the_two_members_is_touched(tmp_path: Path) -> None:
    members = (("../../evil", b"x"), ("/etc/evil", b"x"), ("config.json", CONFIG), ("model.weights.h5", WEIGHTS))
    folder = tmp_path / "inner"
    folder.mkdir()
    read_keras(keras(folder / "m.keras", members))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["m.keras"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("config.json", CONFIG)], "one model.weights.h5 in it, this one has 0"),
        ([("model.weights.h5", WEIGHTS)], "one config.json in it, this one has 0"),
        ([("config.json", b"{"), ("model.weights.h5", WEIGHTS)], "no JSON"),
        ([("config.json", b"[" * 100_000), ("model.weights.h5", WEIGHTS)], "no JSON"),
        ([("config.json", b"[]"), ("model.weights.h5", WEIGHTS)], "no table"),
        ([("config.json", CONFIG), ("model.weights.h5", b"text")], "not a readable HDF5"),
        ([*((str(i) * 60, b"") for i in range(40_000)), ("model.weights.h5", WEIGHTS)], "too many files"),
    ],
)
def test_odd_zips_are_refused(tmp_path: Path, members: list[tuple[str, bytes]], reason: str) -> None:
    assert reason in complaint(keras(tmp_path / "m.keras", members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    members = [("config.json", CONFIG), ("model.weights.h5", WEIGHTS), ("model.weights.h5", WEIGHTS)]
    assert "this one has 2" in complaint(keras(tmp_path / "m.keras", members))


def test_compression_bomb_is_refused(tmp_path: Path) -> None:
    members = [("config.json", CONFIG), ("model.weights.h5", bytes(2**24))]
    assert "beyond all measure" in complaint(keras(tmp_path / "m.keras", members, zipfile.ZIP_DEFLATED))


def test_member_of_another_size_than_announced_is_refused(tmp_path: Path) -> None:
    path = keras(tmp_path / "m.keras", [("config.json", CONFIG), ("model.weights.h5", WEIGHTS)])
    size = len(WEIGHTS).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size + size, size + (2**31).to_bytes(4, "little")))
    complaint(path)


def test_unusual_compression_is_refused(tmp_path: Path) -> None:
    members = [("config.json", CONFIG), ("model.weights.h5", WEIGHTS)]
    assert "unusual way" in complaint(keras(tmp_path / "m.keras", members, zipfile.ZIP_LZMA))


def test_file_beyond_the_bound_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_file, "MAX_FILE_BYTES", 1000)
    (tmp_path / "m.h5").write_bytes(WEIGHTS)
    assert "Keras files up to 1,000 are read" in complaint(tmp_path / "m.h5")


@pytest.mark.parametrize("text", ['["cat", "dog"]', "no JSON", '{"0": "cat"}'])
def test_other_json_beside_a_file_is_no_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.h5").write_bytes(hdf5({"conv2d/conv2d/kernel:0": KERNEL}))
    (tmp_path / "m.json").write_text(text)
    found = read_keras(tmp_path / "m.h5")
    assert [layer.name for layer in found.layers] == ["conv2d"]
    assert (found.config, found.named) == (None, True)


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_damaged_zip_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    members = [("config.json", CONFIG), ("model.weights.h5", WEIGHTS)]
    path = keras(tmp_path_factory.mktemp("z") / "m.keras", members, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(ModelFileError):
        read_keras(path)


@pytest.mark.parametrize("variables", [{"0": KERNEL, "2": KERNEL}, {str(i): KERNEL for i in range(3)}])
def test_unexpected_variables_are_refused(tmp_path: Path, variables: dict[str, np.ndarray]) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(hdf5({f"layers/conv2d/vars/{name}": array for name, array in variables.items()}))
    assert "the layer 'conv2d' has variables that are not expected" in complaint(path)


def test_models_within_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(hdf5({"layers/conv2d/vars/0": KERNEL, "layers/functional/layers/conv2d/vars/0": KERNEL}))
    assert "models within models" in complaint(path)


def test_counters_are_sorted_naturally() -> None:
    names = ["conv2d_10", "conv2d", "conv2d_2", "conv2d_1", "dense", "conv2d_9"]
    expected = ["conv2d", "conv2d_1", "conv2d_2", "conv2d_9", "conv2d_10", "dense"]
    assert sorted(names, key=natural_key) == expected


def test_keras_files_are_recognised_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(WEIGHTS)
    keras(tmp_path / "b.zip", [("config.json", CONFIG), ("model.weights.h5", WEIGHTS)])
    for name in ("a.bin", "b.zip"):
        assert list(read_weights(tmp_path / name)) == ["conv2d/kernel"]
