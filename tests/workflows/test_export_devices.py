"""Files for small devices, made by the real converters and run by the real runtimes.

ncnn needs its extra. The others need toolchains: name a folder for them in FEATHERLIGHT_TEST_TOOLCHAINS, and they are
made there once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import pytest

import featherlight
from featherlight.engines import open_engine
from featherlight.errors import MissingExtraError, ModelFileError, UsageError
from featherlight.targets.base import TARGETS, find_target
from featherlight.targets.int8 import _damages_tooled
from featherlight.toolchain import MissingToolchainError, find_toolchain, make_toolchain
from featherlight.workflows.export import Export, export

TOOLED = ("litert", "executorch", "coreml")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _toolchains() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if folder := os.environ.get("FEATHERLIGHT_TEST_TOOLCHAINS"):
            patch.setenv("FEATHERLIGHT_CACHE", folder)
            patch.delenv("FEATHERLIGHT_OFFLINE", raising=False)
        yield


def need(target: str) -> None:
    """Skips unless the target can be written and run here."""
    if target == "ncnn":
        pytest.importorskip("ncnn")
        pytest.importorskip("pnnx", exc_type=ImportError)
    elif "FEATHERLIGHT_TEST_TOOLCHAINS" not in os.environ:
        pytest.skip("FEATHERLIGHT_TEST_TOOLCHAINS does not name a folder for toolchains")
    else:
        make_toolchain(target)
        if target == "litert":
            pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module", params=["ncnn", *TOOLED])
def exported(request: pytest.FixtureRequest, light_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    need(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return export(light_run, request.param, out=folder / "out", kit=folder / "kit")


@pytest.fixture(scope="module", params=["litert", "executorch"])
def int8(request: pytest.FixtureRequest, light_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    need(request.param)
    return export(light_run, request.param, out=tmp_path_factory.mktemp(request.param) / "out", int8=True)


def target_of(result: Export) -> str:
    return next(name for name in TARGETS if result.path.as_posix().find(f"/{name}") > 0)


def test_a_float_file_gives_the_answers_of_its_model(exported: Export) -> None:
    assert exported.verification.passed
    assert exported.verification.agreement == 1.0
    assert exported.verification.max_diff < 1e-4
    assert exported.verification.accuracy == exported.verification.reference_accuracy == 1.0


def test_the_kit_has_all_that_its_script_needs(exported: Export, tmp_path: Path) -> None:
    assert exported.kit is not None
    for file in exported.files:
        assert (exported.kit / file.relative_to(exported.files[0].parents[file_depth(exported)])).is_file()
    assert {"labels.txt", "sample.png", "expected.json", "run.py"} <= {path.name for path in exported.kit.iterdir()}
    if target_of(exported) == "coreml":
        return  # its runtime is on Macs alone
    python = find_toolchain("executorch") if target_of(exported) == "executorch" else sys.executable
    (tmp_path / "PIL").symlink_to(Path(PIL.__file__).parent)  # all that the toolchain lacks for it
    done = subprocess.run(
        [python, exported.kit / "run.py"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)} if python != sys.executable else None,
    )  # fmt: skip
    assert (done.returncode, "as expected" in done.stdout) == (0, True), done.stderr


def file_depth(exported: Export) -> int:
    return 3 if target_of(exported) == "coreml" else 0


def test_the_file_runs_as_any_other(exported: Export, light_run: Path, color_folder: Path) -> None:
    if target_of(exported) == "coreml":
        pytest.skip("Core ML runs on Macs alone")
    engine = target_of(exported)
    picture = color_folder / "test" / "red" / "00.png"
    answer = featherlight.Predictor(exported.path.parent).predict(picture)[0]
    expected = featherlight.Predictor(light_run).predict(picture)[0]
    assert (answer.label, answer.probability) == (expected.label, pytest.approx(expected.probability, abs=1e-4))
    found = featherlight.evaluate(exported.path)
    assert (found.engine, found.top1) == (engine, 1.0)
    (row,) = featherlight.benchmark(exported.path, batches=(2,), threads=(1,), budget_s=0.01)
    assert (row.engine, row.precision, row.batch) == (engine, "float32", 2)
    assert 0 < row.size_bytes <= exported.size_bytes
    assert row.peak_memory_bytes is not None
    assert row.peak_memory_bytes > 10e6
    checked = featherlight.verify(exported.path, light_run)
    assert checked.passed
    assert checked.engine == engine


def test_a_damaged_file_is_refused_before_its_runtime_opens_it(exported: Export, tmp_path: Path) -> None:
    if target_of(exported) == "coreml":
        pytest.skip("Core ML runs on Macs alone")
    shutil.copytree(exported.path.parent, tmp_path / "copy")
    file = tmp_path / "copy" / exported.path.name
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ModelFileError, match="is damaged; copy or export again"):
        open_engine(file)


def test_a_package_for_macs_says_that_it_was_not_run(exported: Export) -> None:
    if target_of(exported) != "coreml":
        pytest.skip("of Core ML")
    assert any("Core ML runs on Macs alone: this package was NOT run here" in line for line in exported.quantization)
    assert exported.verification.engine == "torch, in place of a runtime that is not for this machine"


def test_int8_is_small_holds_the_accuracy_and_takes_float_images(int8: Export, light_run: Path) -> None:
    assert int8.verification.passed
    assert int8.verification.precision == "int8"
    assert int8.path.stat().st_size < 0.5 * (light_run / "model.safetensors").stat().st_size
    assert any(line.startswith("int8 in all ") for line in int8.quantization)
    assert json.loads(int8.path.with_suffix(".json").read_text())["notes"]["precision"] == "int8"


def test_layers_are_left_in_float_by_name(light_run: Path, tmp_path: Path) -> None:
    need("litert")
    from featherlight.engines.exported import ExportedCard
    from featherlight.models.weights import load_model
    from featherlight.targets.base import Draft
    from featherlight.targets.int8 import quantize_tooled

    target = find_target("litert")
    network = load_model(light_run)
    source = target.write_source(Draft(network, ExportedCard(network.card, "tensor")), tmp_path)
    images = [np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)]
    damages = _damages_tooled(target, source, images)
    assert len(damages) == 27  # the last of 28 stays in int8: in float, XNNPACK would not give its logits
    assert all(0 < row.error < 1 for row in damages)
    kept = [row.layer for row in damages[:14]]
    part = quantize_tooled(target, source, tmp_path / "part.tflite", images, keep_float=kept)
    whole = quantize_tooled(target, source, tmp_path / "whole.tflite", images)
    assert part.kept_float == tuple(kept)
    assert whole.size_bytes < part.size_bytes < part.float_bytes


def test_layers_with_equal_biases_are_quantised_apart() -> None:
    """One bias for all that start at zero would get one scale, and XNNPACK refuses a file with a wrong one."""
    need("executorch")
    (row,) = featherlight.benchmark(
        "mobilenet_v3_small", engines=["executorch"], precisions=["int8"], batches=(1,), threads=(1,), budget_s=0.01,
        input_size=32, num_classes=10, memory=False,
    )  # fmt: skip
    assert (row.engine, row.precision) == ("executorch", "int8")


def test_ranges_are_of_all_images_in_whatever_order(light_run: Path, tmp_path: Path) -> None:
    """A running mean over images given class by class would cut off what the first classes give."""
    need("litert")
    from featherlight.engines.exported import ExportedCard
    from featherlight.models.weights import load_model
    from featherlight.targets.base import Draft
    from featherlight.targets.int8 import quantize_tooled

    target = find_target("litert")
    network = load_model(light_run)
    source = target.write_source(Draft(network, ExportedCard(network.card, "tensor")), tmp_path)
    images = np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)
    images[:12] *= 3
    for name, order in (("forwards", images), ("backwards", images[::-1])):
        quantize_tooled(target, source, tmp_path / f"{name}.tflite", [np.ascontiguousarray(order)])
    assert (tmp_path / "forwards.tflite").read_bytes() == (tmp_path / "backwards.tflite").read_bytes()


def test_a_shuffle_by_index_which_ncnn_would_misread_is_left_out(tiny_run: Path, tmp_path: Path) -> None:
    """Its converter makes of it the first channel alone, and the runtime would kill the process."""
    need("ncnn")
    with pytest.raises(UsageError, match="takes channels by index; take another: --form slices"):
        export(tiny_run, "ncnn", out=tmp_path / "gather", form="gather")
    made = export(tiny_run, "ncnn", out=tmp_path / "auto", form="auto")
    assert made.verification.agreement == 1.0
    assert any("gather: this form cannot be written for ncnn" in line for line in made.explanation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "image"}, "ncnn has no resize that gives the same pixels as training"),
        ({"int8": True}, "--to ncnn has no --int8; leave it out"),
        ({"out": "x.param"}, "--to ncnn makes 3 files; name a folder, not x.param"),
    ],
)
def test_what_ncnn_cannot_do_is_told(light_run: Path, options: dict[str, object], message: str) -> None:
    need("ncnn")
    with pytest.raises(UsageError, match=message):
        export(light_run, "ncnn", **options)  # type: ignore[arg-type]


def test_without_what_it_needs_the_command_is_told(
    light_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path))
    with pytest.raises(MissingToolchainError, match=r"featherlight toolchain executorch$"):
        export(light_run, "executorch")
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingExtraError, match=r'pip install "featherlight\[ncnn\]"'):
        export(light_run, "ncnn")
