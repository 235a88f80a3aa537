from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import featherlight
from featherlight.errors import UsageError

KEYS = [
    "model", "engine", "precision", "batch", "threads", "p50_ms", "p95_ms", "images_per_s", "size_bytes",
    "peak_memory_bytes",
]  # fmt: skip


@pytest.mark.slow
def test_every_engine_precision_and_batch_is_measured(tiny_run: Path, color_folder: Path, tmp_path: Path) -> None:
    found = featherlight.benchmark(
        tiny_run, precisions=("float32", "bfloat16", "int8"), batches=(1, 2), threads=(1,), data=color_folder,
        budget_s=0.01, memory=False, plot=tmp_path / "speed.png", save_profile=tmp_path / "here.json",
    )  # fmt: skip
    settings = [(row.engine, row.precision, row.batch) for row in found]
    expected = [("torch", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8")]
    expected += [("openvino", precision) for precision in ("float32", "bfloat16", "int8")]
    assert settings == [(*pair, batch) for pair in expected for batch in (1, 2)]
    assert all(row.accuracy == 1.0 for row in found)
    assert all(0 < row.low_ms <= row.p50_ms <= row.p95_ms and row.peak_memory_bytes is None for row in found)
    sizes = {(row.engine, row.precision): row.size_bytes for row in found}
    assert sizes["onnxruntime", "int8"] < 0.5 * sizes["onnxruntime", "float32"]
    assert sizes["openvino", "int8"] < 0.6 * sizes["openvino", "float32"] == 0.6 * sizes["openvino", "bfloat16"]
    profile = featherlight.read_device_profile(tmp_path / "here.json")
    assert len(profile.measurements) == len(found)
    assert profile.fastest("shufflenet_v2_x0_5", 16, batch=2) is not None
    assert (tmp_path / "speed.png").exists()


@pytest.mark.slow
def test_memory_is_that_of_a_process_without_what_the_engine_does_not_need(tiny_run: Path) -> None:
    engines = ("torch", "onnxruntime")
    found = featherlight.benchmark(tiny_run, engines=engines, batches=(1,), threads=(1,), budget_s=0.01)
    torch, onnxruntime = (row.peak_memory_bytes for row in found)
    assert torch is not None
    assert onnxruntime is not None
    assert 20e6 < onnxruntime < torch


def test_networks_by_name_are_measured_with_fresh_weights() -> None:
    (row,) = featherlight.benchmark(
        "mobilenet_v1_x0_25", engines=("torch",), batches=(1,), threads=(1,), input_size=32, num_classes=7,
        budget_s=0.01, memory=False,
    )  # fmt: skip
    assert (row.network, row.num_classes, row.input_size, row.accuracy) == ("mobilenet_v1_x0_25", 7, 32, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "name at least one model"),
        ({"models": "nobody"}, "nobody"),
        ({"models": "runs/nobody.onnx"}, "no such run directory, model file or exported file"),
        ({"engines": ("tensorflow",)}, "unknown engine 'tensorflow'"),
        ({"precisions": ("int4",)}, "unknown precision 'int4'"),
        ({"engines": ("torch",), "precisions": ("int8",)}, "nothing to measure"),
        ({"threads": (4096,)}, "4096 threads cannot be measured here"),
        ({"data": "digits"}, "is not trained, so it has no accuracy"),
        ({"plot": "x.gif"}, r"\.png or an \.svg"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        featherlight.benchmark(**{"models": "mobilenet_v1_x0_25", **arguments})  # type: ignore[arg-type]


def test_size_belongs_to_names_only(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="has its own size and classes"):
        featherlight.benchmark(tiny_run, input_size=32)


def test_command_prints_rows_for_machines_and_a_table_for_people(cli: Callable[..., object], tiny_run: Path) -> None:
    common = ("benchmark", tiny_run, "--engine", "torch", "--threads", "1", "--seconds", "0.01", "--batch")
    answer = cli(*common, "1,2", "--no-memory", "--json")
    rows = json.loads(answer.out)  # type: ignore[attr-defined]
    assert [row["batch"] for row in rows] == [1, 2]
    assert set(KEYS) <= set(rows[0])
    answer = cli(*common, "1", "--no-memory", "--csv")
    assert answer.out.splitlines()[0].startswith("model,network")  # type: ignore[attr-defined]
    answer = cli(*common, "1")
    assert "memory MB" in answer.out  # type: ignore[attr-defined]
    assert cli(*common, "1", "--json", "--csv").code == 2  # type: ignore[attr-defined]
