from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from featherlight.errors import ModelFileError
from featherlight.interop.archive import MAX_UNPACKED_BYTES
from featherlight.interop.reading import MAX_FILE_BYTES, read_weights

STATE = OrderedDict([("a.weight", torch.arange(6.0).view(2, 3)), ("b.running_mean", torch.ones(4))])


def saved(path: Path, content: Any, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def complaint(path: Path) -> str:
    """The error's text, which must name the file and be short and printable, whatever the file holds."""
    with pytest.raises(ModelFileError) as error:
        read_weights(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert len(text) < len(str(path)) + 500
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


def assert_is_state(path: Path) -> None:
    tensors = read_weights(path).tensors
    assert list(tensors) == list(STATE)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_of_both_formats_are_read(tmp_path: Path, zipped: bool) -> None:
    assert_is_state(saved(tmp_path / "w.pth", STATE, _use_new_zipfile_serialization=zipped))


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    save_file(dict(STATE), tmp_path / "w.safetensors")
    assert_is_state(tmp_path / "w.safetensors")


def test_kind_of_file_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    save_file(dict(STATE), tmp_path / "w.pth")
    assert_is_state(tmp_path / "w.pth")
    assert_is_state(saved(tmp_path / "w.safetensors", STATE))


@pytest.mark.parametrize("zipped", [True, False])
def test_archive_around_a_pytorch_file_is_opened(tmp_path: Path, zipped: bool) -> None:
    inner = saved(tmp_path / "w.pth", STATE, _use_new_zipfile_serialization=zipped)
    with zipfile.ZipFile(tmp_path / "w.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, "w.pth")
    assert_is_state(tmp_path / "w.pth.zip")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_weights_are_found_in_a_training_checkpoint(tmp_path: Path, key: str) -> None:
    checkpoint = {"epoch": 3, "best": 71.5, key: STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    assert_is_state(saved(tmp_path / "w.pth.tar", checkpoint))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str) -> None:
    wrapped = OrderedDict((prefix + name, tensor) for name, tensor in STATE.items())
    assert_is_state(saved(tmp_path / "w.pth", {"state_dict": wrapped}))


def test_prefix_of_some_names_only_stays(tmp_path: Path) -> None:
    mixed = {"module.a.weight": torch.ones(1), "b.weight": torch.ones(1)}
    assert list(read_weights(saved(tmp_path / "w.pth", mixed)).tensors) == list(mixed)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": STATE, "args": Bomb(tmp_path / "executed")}
    path = saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=zipped)
    assert complaint(path).startswith("holds more than weights, or is damaged, so it is not loaded. If you trust it, ")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    complaint(tmp_path / "plain.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"a": 1}, {"epoch": 3}, {1: torch.ones(1)}, torch.ones(3), {"state_dict": {"a": 5}}]
)
def test_file_without_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    message = "no weights of a network in it (a dictionary from names to tensors is expected)"
    assert complaint(saved(tmp_path / "w.pth", content)) == message


def test_checkpoint_that_contains_itself_is_refused(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["state_dict"] = endless
    complaint(saved(tmp_path / "w.pth", endless))


def test_pickle_that_the_safe_reader_does_not_know_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", STATE, pickle_protocol=4, _use_new_zipfile_serialization=False)
    assert complaint(path).endswith(
        "write the weights alone where it came from: torch.save(model.state_dict(), 'weights.pth')"
    )


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    many = {f"t{k}": torch.zeros(()) for k in range(10_001)}
    assert complaint(saved(tmp_path / "w.pth", many, _use_new_zipfile_serialization=False)).startswith("10,001 tensors")


def test_too_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", STATE)
    os.truncate(path, MAX_FILE_BYTES + 1)  # a hole, no bytes on the disk
    assert complaint(path) == f"{MAX_FILE_BYTES + 1:,} bytes; at most {MAX_FILE_BYTES:,} are read"


def claiming(content: bytes, size: int) -> bytes:
    """An archive whose table of contents says that its first entry unpacks to ``size`` bytes."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, content.index(b"PK\x01\x02") + 24, size)
    return bytes(changed)


def test_archive_that_would_explode_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", STATE)
    path.write_bytes(claiming(path.read_bytes(), 2**31))
    assert complaint(path).startswith("would unpack to 2,147,")
    assert complaint(path).endswith(f" bytes; at most {MAX_UNPACKED_BYTES:,} are accepted")


def test_archive_with_a_huge_table_of_contents_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", STATE)
    content = bytearray(path.read_bytes())
    end = content.rfind(b"PK\x05\x06")
    struct.pack_into("<I", content, end + 12, 2**31)
    path.write_bytes(content)
    assert complaint(path) == "an archive of too many files; that is no network"


def test_nested_archive_is_looked_through_as_well(tmp_path: Path) -> None:
    inner = saved(tmp_path / "w.pth", STATE).read_bytes()
    with zipfile.ZipFile(tmp_path / "w.pth.zip", "w") as archive:
        archive.writestr("w.pth", claiming(inner, 2**31))
    assert complaint(tmp_path / "w.pth.zip").startswith("would unpack to ")


def test_archive_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.pth", bytes(2**20))
    path = tmp_path / "w.pth.zip"
    path.write_bytes(claiming(path.read_bytes(), 100))
    complaint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02", b"hello", bytes(100), b"\x80\x02}q\x00.", b"PK"])
def test_broken_and_foreign_files_are_errors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    complaint(tmp_path / "w.pth")


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    assert complaint(tmp_path / "w.pth") == "no such file of weights"
    assert complaint(tmp_path) == "no such file of weights"


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_changed_and_shortened_files_give_tensors_or_a_clear_error(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    path = tmp_path / "w"
    if kind == "safetensors":
        save_file(dict(STATE), path)
    else:
        saved(path, STATE, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        assert all(isinstance(tensor, torch.Tensor) for tensor in read_weights(path).tensors.values())
    except ModelFileError:
        complaint(path)
