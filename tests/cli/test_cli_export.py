from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

Cli = Callable[..., object]


@pytest.fixture(scope="module")
def file(light_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import featherlight

    return featherlight.export(light_run, out=tmp_path_factory.mktemp("cli") / "m.onnx", form="gather").path


def test_export_says_how_it_compares_and_what_is_next(cli, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = cli("export", tiny_run, "--to", "onnx", "--out", out, "--form", "carry", "--explain")
    assert answer.code == 0, answer.err
    assert "100.00% of 12 images named alike" in answer.out
    assert "accuracy 100.00%, before 100.00%" in answer.out
    assert "thin evidence" in answer.out
    assert "fold_batch_norm: 56 places" in answer.out
    assert "operators: " in answer.out
    assert f"file    {out}/model.onnx" in answer.out
    assert answer.out.endswith(f"next    featherlight predict {out}/model.onnx IMAGE\n")


def test_export_in_int8_says_which_layers_are(cli, light_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kit = tmp_path / "kit"
    answer = cli("export", light_run, "--int8", "--out", out, "--form", "carry", "--kit", kit, "--lang", "zh")
    assert answer.code == 0, answer.err
    assert "int8 in all " in answer.out or " layers stay in float" in answer.out
    assert "fold_batch_norm" not in answer.out
    page = (out / "export.html").read_text(encoding="utf-8")
    assert f"--out {out} --int8 --form carry --kit {kit} --lang zh<" in page
    assert "与原模型回答相同的比例" in page


def test_verify_prints_the_row_of_the_contract(cli, file: Path, light_run: Path) -> None:
    answer = cli("verify", file, "--against", light_run, "--json")
    assert answer.code == 0
    row = json.loads(answer.out)
    assert set(row) >= {
        "agreement", "max_diff", "mean_diff", "accuracy", "reference_accuracy", "num_images", "disagreements", "passed",
    }  # fmt: skip
    assert (row["passed"], row["num_images"], row["agreement"]) == (True, 12, 1.0)


def test_verify_of_a_file_with_other_answers_is_negative(cli, file: Path, light_run: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    last = next(node for node in reversed(model.graph.node) if node.op_type in ("Gemm", "MatMul"))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == last.input[1])
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    answer = cli("verify", tmp_path / "m.onnx", "--against", light_run)
    assert answer.code == 1
    assert "failed: " in answer.out
    assert "named differently: " in answer.out
    shown = json.loads(cli("verify", tmp_path / "m.onnx", "--against", light_run, "--json").out)
    assert shown["disagreements"]
    assert set(shown["disagreements"][0]) == {"path", "exported", "reference", "margin"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere"], "nowhere: no such model file or run directory; runs are listed by: featherlight runs"),
        (["export", "RUN", "--to", "tensorrt"], "there is no target 'tensorrt'"),
        (["verify", "FILE"], "Missing option '--against'"),
        (["verify", "FILE", "--against", "nowhere"], "nowhere: no such model file"),
        (["verify", "FILE", "--against", "RUN", "--engine", "abacus"], "unknown engine 'abacus'"),
        (["predict", "FILE", "RUN", "--engine", "torch"], "the torch engine cannot run"),
    ],
)
def test_mistakes_are_one_line(cli, file: Path, light_run: Path, arguments: list[str], message: str) -> None:
    answer = cli(*[{"RUN": light_run, "FILE": file}.get(one, one) for one in arguments])
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert message in answer.err


def test_predict_takes_threads_and_the_exported_file(cli, file: Path, color_folder: Path) -> None:
    answer = cli("predict", file, color_folder / "test" / "red", "--json", "--threads", "1")
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert {row["label"] for row in rows} == {"red"}
    assert np.isfinite([row["probability"] for row in rows]).all()


def test_help_names_every_form(cli) -> None:
    from featherlight.passes.forms import FORMS

    text = cli("export", "--help").out
    assert all(name in text for name in FORMS)
