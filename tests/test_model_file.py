from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from featherlight.errors import FeatherlightError, ModelFileError
from featherlight.images import Preprocessing
from featherlight.model_file import (
    MAX_CLASSES,
    MAX_HEADER_BYTES,
    ModelCard,
    find_model_file,
    model_files,
    read_card,
    read_shapes,
    read_tensors,
    write_model_file,
)

CARD = ModelCard(
    model="mobilenet_v1_x0_25",
    arguments={"num_classes": 3, "in_channels": 3, "input_size": 32, "stem": "cifar", "dropout": 0.0},
    classes=("猫 & <hund>", "Käse\n🧀", 'a"b\\c'),
    preprocessing=Preprocessing(32, "pad", 0.9, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    temperature=1.2345678901234567,
    provenance={"data": "/bilder/größe", "metrics": {"val_top1": 0.1 + 0.2, "best": None}, "list": [1, "猫"]},
)
TENSORS = {
    "weight": np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32),
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 5), np.float32),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_model_file(path, TENSORS, CARD)
    return path


def read_all(path: Path) -> None:
    read_card(path)
    read_shapes(path)
    read_tensors(path)


def complaint(path: Path, read: Any = read_all) -> str:
    """The error's text, which must name the file and be short and printable, whatever the file holds."""
    with pytest.raises(ModelFileError) as error:
        read(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert len(text) < len(str(path)) + 400
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


def forge(path: Path, header: object, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def metadata(**changes: str | None) -> dict[str, str]:
    """A card's text fields; None takes one away."""
    fields: dict[str, str | None] = {
        "featherlight": "0.1.0",
        "model": CARD.model,
        "arguments": json.dumps(CARD.arguments),
        "classes": json.dumps(CARD.classes),
        "preprocessing": json.dumps(CARD.preprocessing.to_dict()),
        "temperature": "1.5",
        "provenance": "{}",
        **changes,
    }
    return {name: text for name, text in fields.items() if text is not None}


def test_card_and_tensors_come_back_as_they_were(whole: Path) -> None:
    assert read_card(whole) == CARD
    assert read_shapes(whole) == {name: array.shape for name, array in TENSORS.items()}
    tensors = read_tensors(whole)
    assert set(tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


@given(st.lists(st.text(st.characters()), min_size=1, unique=True), st.floats(1e-3, 1e3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_class_names_and_temperature_come_back(tmp_path: Path, names: list[str], temperature: float) -> None:
    card = replace(CARD, arguments={"num_classes": len(names)}, classes=tuple(names), temperature=temperature)
    write_model_file(tmp_path / "m.safetensors", {}, card)
    assert read_card(tmp_path / "m.safetensors") == card


def test_folder_names_that_are_no_utf8_can_be_classes_and_provenance(tmp_path: Path) -> None:
    latin = os.fsdecode("größe".encode("latin-1"))
    card = replace(CARD, classes=(latin, "b", "c"), provenance={"data": f"/{latin}"})
    write_model_file(tmp_path / "m.safetensors", TENSORS, card)
    assert read_card(tmp_path / "m.safetensors") == card


def test_transposed_and_strided_arrays_are_stored_by_value(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    write_model_file(tmp_path / "m.safetensors", {"t": array.T, "s": array[::2, ::3]}, CARD)
    tensors = read_tensors(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(tensors["t"], array.T)
    np.testing.assert_array_equal(tensors["s"], array[::2, ::3])


REJECT = {"score": "probability", "threshold": 0.1 + 0.2, "target_false_reject_rate": 0.05, "fitted_on": "val"}


def test_threshold_of_rejection_comes_back_and_is_absent_in_older_files(tmp_path: Path, whole: Path) -> None:
    write_model_file(tmp_path / "m.safetensors", TENSORS, replace(CARD, reject=REJECT))
    assert read_card(tmp_path / "m.safetensors") == replace(CARD, reject=REJECT)
    assert read_card(whole).reject is None


@pytest.mark.parametrize(
    ("reject", "message"),
    [
        ("[]", "its 'reject' is a list, not a dict"),
        ("{", "its 'reject' is missing or unreadable"),
        ('{"threshold": 1}', "it rejects images by None, not by energy or probability"),
        ('{"score": "mood", "threshold": 1}', "it rejects images by 'mood', not by energy or probability"),
        ('{"score": ["energy"], "threshold": 1}', "it rejects images by ['energy'], not by energy or probability"),
        ('{"score": "energy"}', "it rejects images below None, which is no number"),
        ('{"score": "energy", "threshold": NaN}', "it rejects images below nan, which is no number"),
        ('{"score": "energy", "threshold": -Infinity}', "it rejects images below -inf, which is no number"),
        (f'{{"score": "energy", "threshold": {10**400}}}', f"it rejects images below {10**39}, which is no number"),
        ('{"score": "energy", "threshold": true}', "it rejects images below True, which is no number"),
        ('{"score": "energy", "threshold": "1"}', "it rejects images below '1', which is no number"),
    ],
)
def test_impossible_threshold_is_refused(tmp_path: Path, reject: str, message: str) -> None:
    path = forge(tmp_path / "m.safetensors", {"__metadata__": metadata(reject=reject)})
    assert complaint(path, read_card) == message


def test_metadata_is_what_the_format_says_and_holds_no_pickle(whole: Path) -> None:
    from safetensors import safe_open

    with safe_open(whole, framework="np") as file:
        fields = file.metadata()
    assert {name for name in fields if name != "featherlight"} == set(metadata()) - {"featherlight"}
    assert json.loads(fields["classes"]) == list(CARD.classes)


def test_full_disk_leaves_the_old_model_whole(
    tmp_path: Path, disk_with_room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, TENSORS, CARD)
    before = path.read_bytes()
    with disk_with_room_for(20_000), pytest.raises(FeatherlightError, match=r"cannot write .*: File too large"):
        write_model_file(path, {"weight": np.zeros(100_000, np.float32)}, CARD)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_provenance_that_is_no_json_leaves_the_old_model_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, TENSORS, CARD)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_model_file(path, TENSORS, replace(CARD, provenance={"x": object()}))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_run_directory_and_file_name_the_same_model(whole: Path) -> None:
    assert find_model_file(whole.parent) == find_model_file(str(whole.parent)) == find_model_file(whole) == whole


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no model.safetensors in this folder; name a run directory or a model file"),
        (["recipe.toml"], "this run is not finished. Go on with: featherlight train --resume "),
    ],
)
def test_folder_without_a_model_says_what_to_do(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert complaint(tmp_path, find_model_file).startswith(message)


@pytest.mark.parametrize("name", ["missing", "missing/deep", "x" * 300])
def test_missing_path_is_an_error(tmp_path: Path, name: str) -> None:
    assert (
        complaint(tmp_path / name, find_model_file)
        == "no such model file or run directory; runs are listed by: featherlight runs"
    )


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_file_cut_off_anywhere_is_an_error(tmp_path: Path, whole: Path, data: st.DataObject) -> None:
    content = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    complaint(path)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_changed_bytes_give_a_model_or_a_clear_error(tmp_path: Path, whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    try:
        read_all(path)
    except ModelFileError:
        complaint(path)


@pytest.mark.parametrize("length", [0, 1, 3, 200_000_000, 2**63, 2**64 - 1])
def test_lie_about_the_headers_length_is_an_error(tmp_path: Path, whole: Path, length: int) -> None:
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", length) + whole.read_bytes()[8:])
    assert complaint(path) in {
        "not a model file, or cut off (safetensors expected)",
        "not a model file (its header is no JSON)",
    }


def test_header_of_200_megabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 200_000_000))
        file.truncate(300_000_000)  # a hole: the file takes no room
    assert complaint(path) == f"header of 200,000,000 bytes; at most {MAX_HEADER_BYTES:,} are accepted"


def test_header_of_100_000_entries_is_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = forge(tmp_path / "many.safetensors", {f"t{k}": entry for k in range(100_000)})
    assert complaint(path) == "100,000 tensors; at most 10,000 are accepted"


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_header_nested_100_000_deep_is_refused(tmp_path: Path, brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    nested = opening * 100_000 + "1" + closing * 100_000
    deep = forge(tmp_path / "deep.safetensors", nested.encode())
    assert complaint(deep) == "not a model file (its header is no JSON)"
    inside = {"__metadata__": metadata(provenance=nested)}
    assert complaint(forge(tmp_path / "inside.safetensors", inside)) == "its 'provenance' is missing or unreadable"


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x01", b"\xff\xfe\xfd", b"{'a': 1}", b'{"a": ', b"nonsense", b"[]", b'"text"', b"17", b"null",
        {"t": None}, {"t": []}, {"t": {}}, {"t": {"shape": None}}, {"t": {"shape": "3"}}, {"t": {"shape": [-1]}},
        {"t": {"shape": [1.5]}}, {"t": {"shape": ["3"]}}, {"t": {"shape": {"0": 1}}}, {"\x1b[31m" * 100: 1},
    ],
)  # fmt: skip
def test_header_that_is_none_is_an_error(tmp_path: Path, header: object) -> None:
    path = forge(tmp_path / "odd.safetensors", header)
    complaint(path)
    complaint(path, read_shapes)
    complaint(path, read_tensors)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 23]},
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]},
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 10**15]},
        {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [True, 6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2, 3]},
        {"dtype": "OBJECT", "shape": [2, 3], "data_offsets": [0, 24]},
        {"dtype": 7, "shape": [2, 3], "data_offsets": [0, 24]},
        {"dtype": "BF16", "shape": [12], "data_offsets": [0, 24]},
        {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]},
    ],
)
def test_tensor_that_lies_about_itself_is_an_error(tmp_path: Path, entry: dict[str, object]) -> None:
    header = {"__metadata__": metadata(), "\x1b" + "t" * 100_000: entry}
    path = forge(tmp_path / "lie.safetensors", header, bytes(24))
    assert complaint(path, read_tensors).startswith("damaged model file")


WRONG = {
    "arguments": ["[]", "null", '"x"', "{", "", '{"num_classes": 2}', '{"num_classes": 1000000000}', "{}",
                  '{"num_classes": "3"}', f'{{"num_classes": "{"3" * 10_000}"}}', '{"num_classes": [3]}'],
    "classes": ["{}", "null", '"abc"', "[", "", "[]", '["a", "a", "b"]', '["a", "b", 3]', '["a", "b", null]',
                '["a", "b", ["c"]]', '["a", "b"]', "[" * 100_000],
    "preprocessing": ["{}", "[]", "null", "1", "", "{"],
    "temperature": ["nan", "inf", "-inf", "0", "-1", "1e999", "", "one", "[1]", "9" * 5000, "x" * 100_000],
    "provenance": ["[]", "null", "1", "", "{", "[" * 100_000],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_wrong_field_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    complaint(forge(tmp_path / "wrong.safetensors", {"__metadata__": metadata(**{name: text})}), read_card)


@pytest.mark.parametrize("name", ["arguments", "classes", "preprocessing", "provenance"])
def test_missing_field_is_an_error(tmp_path: Path, name: str) -> None:
    path = forge(tmp_path / "less.safetensors", {"__metadata__": metadata(**{name: None})})
    assert complaint(path, read_card) == f"its '{name}' is missing or unreadable"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_size", 10**9), ("input_size", 0), ("input_size", "32"), ("input_size", True), ("input_size", 32.5),
        ("resize", "zoom"), ("resize", ["crop"]), ("resize", "x" * 100_000), ("crop_fraction", 0), ("crop_fraction", 2),
        ("crop_fraction", None), ("crop_fraction", float("nan")), ("mean", [0.5, 0.5]), ("mean", 0.5),
        ("mean", [[1], [2], [3]]), ("mean", ["0", "0", "0"]), ("std", [0, 0, 0]), ("std", [1, 1, float("inf")]),
        ("std", [-1, 1, 1]), ("unknown", 1),
    ],
)  # fmt: skip
def test_wrong_preprocessing_is_an_error(tmp_path: Path, name: str, value: object) -> None:
    text = json.dumps({**CARD.preprocessing.to_dict(), name: value})
    path = forge(tmp_path / "wrong.safetensors", {"__metadata__": metadata(preprocessing=text)})
    assert "preprocessing" in complaint(path, read_card)


def test_network_that_takes_other_channels_than_the_preprocessing_gives_is_an_error(tmp_path: Path) -> None:
    arguments = json.dumps({**CARD.arguments, "in_channels": 1})
    path = forge(tmp_path / "wrong.safetensors", {"__metadata__": metadata(arguments=arguments)})
    assert complaint(path, read_card) == "the network takes 1 channels, but the preprocessing gives 3"


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    names = [f"c{k}" for k in range(MAX_CLASSES + 1)]
    changes = metadata(classes=json.dumps(names), arguments=json.dumps({"num_classes": len(names)}))
    path = forge(tmp_path / "many.safetensors", {"__metadata__": changes})
    assert complaint(path, read_card) == "100001 classes; 1 to 100,000 are accepted"


@pytest.mark.parametrize("found", [None, 1, [], {}, {"format": "pt"}, {"featherlight": "0.1.0"}, {"model": "x"}])
def test_safetensors_file_of_somebody_else_is_foreign(tmp_path: Path, found: object) -> None:
    header = {} if found is None else {"__metadata__": found}
    path = forge(tmp_path / "foreign.safetensors", header)
    assert complaint(path, read_card).startswith("a safetensors file, but not a Featherlight model")


@pytest.mark.parametrize("model", [["mobilenet_v1_x0_25"], 7, None, "x" * 100_000, "\x1b[31m"])
def test_network_name_of_another_kind_is_an_error(tmp_path: Path, model: object) -> None:
    path = forge(tmp_path / "odd.safetensors", {"__metadata__": {**metadata(), "model": model}})
    assert complaint(path, read_card).startswith("its 'model' is no network's name")


def test_plain_safetensors_file_is_foreign(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "plain.safetensors")
    assert "not a Featherlight model" in complaint(tmp_path / "plain.safetensors", read_card)


def test_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "trap.safetensors").write_bytes(pickle.dumps(Trap()))
    assert complaint(tmp_path / "trap.safetensors") == "not a model file, or cut off (safetensors expected)"
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"1234567", b"12345678", b"\x89PNG\r\n\x1a\n" * 10, bytes(100)])
def test_file_that_is_no_model_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert complaint(tmp_path / "x.safetensors") == "not a model file, or cut off (safetensors expected)"


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("model.onnx", ()),
        ("model.xml", ("model.bin",)),
        ("model.param", ("model.bin", "model.json")),
        ("model.tflite", ("model.json",)),
        ("model.pte", ("model.json",)),
    ],
)
def test_a_model_goes_elsewhere_with_all_its_files(tmp_path: Path, name: str, beside: tuple[str, ...]) -> None:
    for file in (name, *beside, "notes.txt"):
        (tmp_path / file).write_text(file)
    assert model_files(tmp_path / name) == [(file, file.encode()) for file in (name, *beside)]
