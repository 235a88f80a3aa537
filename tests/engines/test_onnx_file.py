from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from featherlight.engines import open_engine
from featherlight.engines.onnx_file import scan_onnx
from featherlight.errors import FeatherlightError, ModelFileError


def small_model(
    *, initializer: TensorProto | None = None, nodes: list[onnx.NodeProto] | None = None
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["image"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.UINT8, None)],
        [] if initializer is None else [initializer],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"a": "b", "name": "ümlaut"})
    return model


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_metadata_is_read(tmp_path: Path) -> None:
    assert scan_onnx(write(tmp_path, small_model())).metadata == {"a": "b", "name": "ümlaut"}


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "missing.bin", "", "a/../../secret", "x\0y"])
def test_weights_outside_the_folder_are_not_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    (tmp_path / "model").mkdir()
    path = write(tmp_path / "model", small_model(initializer=external(location)))
    with pytest.raises(ModelFileError, match="which is no file in its own folder"):
        scan_onnx(path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="which is no file in its own folder"):
        scan_onnx(write(tmp_path / "model", small_model(initializer=external("w.bin"))))


def test_weights_in_other_files_of_the_folder_are_fine(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 16)
    assert scan_onnx(write(tmp_path, small_model(initializer=external("w.bin")))).external == {"w.bin"}


def test_external_weights_in_a_graph_within_a_node_are_found(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [], [external("../secret")])
    node = helper.make_node("If", ["image"], ["logits"], then_branch=inner, else_branch=inner)
    with pytest.raises(ModelFileError, match="which is no file in its own folder"):
        scan_onnx(write(tmp_path, small_model(nodes=[node])))


@pytest.mark.parametrize("dims", [[2**40], [2**33, 2**33], [1000, 1000]])
def test_a_tensor_that_claims_more_values_than_it_has_is_refused(tmp_path: Path, dims: list[int]) -> None:
    tensor = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, raw_data=struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(ModelFileError, match=r"a tensor of [\d,]+ values in 16 bytes"):
        scan_onnx(write(tmp_path, small_model(initializer=tensor)))


def test_a_huge_declared_shape_is_refused(tmp_path: Path) -> None:
    model = small_model()
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2**20, 2**20]))
    with pytest.raises(ModelFileError, match="it declares a tensor of"):
        scan_onnx(write(tmp_path, model))


def test_honest_weights_of_every_type_are_accepted(tmp_path: Path) -> None:
    model = small_model()
    for k, kind in enumerate(["f4", "f2", "f8", "i1", "u1", "i8", "?"]):
        model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 5), kind), f"w{k}"))
    model.graph.initializer.append(helper.make_tensor("t", TensorProto.FLOAT, [2, 2], [1, 2, 3, 4]))
    model.graph.initializer.append(helper.make_tensor("e", TensorProto.FLOAT, [0], []))
    model.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [3], [1, 2, 3]))
    assert scan_onnx(write(tmp_path, model)).external == set()


@pytest.mark.parametrize(
    "content", [b"", b"hello world", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\x0a\xff\xff\xff\xff\x0f"]
)
def test_files_that_are_no_onnx_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.onnx: "):
        open_engine(tmp_path / "m.onnx")


def test_a_file_of_endless_tiny_fields_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherlight.engines.onnx_file.MAX_FIELDS", 1000)
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01" * 2000)
    with pytest.raises(ModelFileError, match="more than 1,000 fields"):
        scan_onnx(tmp_path / "m.onnx")


def test_graphs_within_graphs_without_end_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph([], "g", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["a"], ["b"], then_branch=graph)], "g", [], [])
    model = small_model()
    model.graph.CopyFrom(graph)
    with pytest.raises(ModelFileError, match="more than 40 levels"):
        scan_onnx(write(tmp_path, model))


def test_a_foreign_onnx_file_says_how_to_make_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not exported by Featherlight"):
        open_engine(write(tmp_path, small_model()))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_give_an_error_or_a_scan_but_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(
        small_model(initializer=numpy_helper.from_array(np.ones(20, np.float32), "w")).SerializeToString()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        scan_onnx(path)
    except FeatherlightError as error:
        assert str(path) in str(error)  # noqa: PT017
