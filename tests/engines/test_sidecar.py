from __future__ import annotations

import json
from pathlib import Path

import pytest

from featherlight.engines.exported import ExportedCard
from featherlight.engines.sidecar import read_sidecar, sidecar_of, write_sidecar
from featherlight.errors import ModelFileError
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard

CARD = ModelCard(
    "mobilenet_v1_x0_25", {"num_classes": 2}, ("ä", 'b"'), Preprocessing(32, mean=(0.5,), std=(0.25,)), 1.5,
    {"data": "photos"}, {"score": "probability", "threshold": 0.5},
)  # fmt: skip
CARD = ModelCard(**{**vars(CARD), "arguments": {"num_classes": 2, "in_channels": 1}})
EXPORTED = ExportedCard(CARD, "tensor", {"passed": True}, {"precision": "int8"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.param").write_bytes(b"graph")
    (tmp_path / "model.bin").write_bytes(b"weights")
    write_sidecar(tmp_path / "model.param", EXPORTED, ("model.param", "model.bin"))
    return tmp_path / "model.param"


def test_what_is_written_is_read_again(model: Path) -> None:
    assert read_sidecar(model, ["model.param", "model.bin"]) == EXPORTED


def test_other_programs_read_plain_json(model: Path) -> None:
    fields = json.loads(sidecar_of(model).read_text(encoding="utf-8"))
    assert fields["classes"] == ["ä", 'b"']
    assert fields["preprocessing"]["input_size"] == 32
    assert fields["temperature"] == 1.5
    assert (fields["model"], fields["input"]) == ("mobilenet_v1_x0_25", "tensor")


@pytest.mark.parametrize("name", ["model.param", "model.bin"])
def test_a_changed_file_is_refused_before_a_runtime_sees_it(model: Path, name: str) -> None:
    file = model.with_name(name)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelFileError, match=r"is not the file that model\.json was written for"):
        read_sidecar(model, ["model.param", "model.bin"])


def test_a_missing_file_is_named(model: Path) -> None:
    model.with_name("model.bin").unlink()
    with pytest.raises(ModelFileError, match=r"model\.bin: cannot be read \(No such file"):
        read_sidecar(model, ["model.param", "model.bin"])


def test_without_metadata_it_says_who_writes_them(model: Path) -> None:
    sidecar_of(model).unlink()
    with pytest.raises(ModelFileError, match=r"model.json is not beside it; .* featherlight export writes it"):
        read_sidecar(model, ["model.param"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no JSON table"),
        ("{}", "not exported by Featherlight"),
        ('{"featherlight": "1", "model": "m", "sha256": []}', "missing or unreadable"),
    ],
)
def test_damaged_metadata_are_refused(model: Path, text: str, message: str) -> None:
    sidecar_of(model).write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError, match=message):
        read_sidecar(model, ["model.param"])


def test_metadata_without_checksums_do_not_pass_any_file(model: Path) -> None:
    fields = json.loads(sidecar_of(model).read_text(encoding="utf-8"))
    sidecar_of(model).write_text(json.dumps({**fields, "sha256": ["model.param"]}), encoding="utf-8")
    with pytest.raises(ModelFileError, match="is not the file"):
        read_sidecar(model, ["model.param"])
