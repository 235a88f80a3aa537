from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import featherlight
from featherlight.engines import open_engine
from featherlight.engines.onnx_file import scan_onnx
from featherlight.errors import FeatherlightError, GateFailedError, MissingExtraError, ModelFileError, UsageError
from featherlight.models.weights import load_model, save_model
from featherlight.passes.simplify import simplify_forms
from featherlight.sources import open_source
from featherlight.targets.base import Draft, find_target
from featherlight.targets.onnx import OnnxTarget
from featherlight.workflows import export as export_module
from featherlight.workflows.export import Export, export
from featherlight.workflows.fastest_form import Chosen


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model file of a small network: what a run directory is to an export."""
    folder = tmp_path_factory.mktemp("export") / "run"
    folder.mkdir()
    return untrained("mobilenet_v1_x0_25", folder, color_folder).parent


@pytest.fixture(scope="module")
def exported(run: Path) -> Export:
    return export(run, form="shuffle")


@pytest.fixture(scope="module")
def openvino_export(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export(run, "openvino", out=tmp_path_factory.mktemp("ov") / "folder", form="shuffle", half_weights=True)


def images_in(folder: Path) -> list[Path]:
    return sorted((folder / "test").rglob("*.png"))


def test_a_run_gets_a_folder_with_the_file_and_its_page(run: Path, exported: Export) -> None:
    assert exported.path == run / "onnx" / "model.onnx"
    assert {path.name for path in (run / "onnx").iterdir()} == {"model.onnx", "export.html"}
    assert exported.size_bytes == exported.path.stat().st_size
    assert exported.verification.passed
    assert exported.verification.num_images == 12
    assert exported.verification.thin
    assert exported.verification.max_diff < 1e-4
    page = exported.report.read_text(encoding="utf-8")
    assert "The same answers" in page
    assert "Fewer than 200 images" in page
    assert not list(run.glob(".*"))


def test_inputs_outputs_and_metadata_are_those_of_the_contract(run: Path, exported: Export) -> None:
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    ((given,), (logits, probabilities)) = model.graph.input, model.graph.output
    dims = [dim.dim_value or dim.dim_param for dim in given.type.tensor_type.shape.dim]
    assert (given.name, dims, given.type.tensor_type.elem_type) == (
        "image", ["batch", "height", "width", 3], onnx.TensorProto.UINT8,
    )  # fmt: skip
    assert (logits.name, probabilities.name) == ("logits", "probabilities")
    metadata = scan_onnx(exported.path).metadata
    card = load_model(run).card
    assert metadata["featherlight"] == featherlight.__version__
    assert metadata["model"] == "mobilenet_v1_x0_25"
    assert json.loads(metadata["classes"]) == list(card.classes)
    assert json.loads(metadata["preprocessing"]) == card.preprocessing.to_dict()
    assert json.loads(metadata["provenance"]) == json.loads(json.dumps(card.provenance))
    verification = json.loads(metadata["verification"])
    assert verification["passed"] is True
    assert verification["num_images"] == 12


def test_nothing_in_the_file_tells_where_it_was_made(exported: Export) -> None:
    content = exported.path.read_bytes()
    source = str(Path(featherlight.__file__).parent).encode()
    assert source not in content
    assert b"stack_trace" not in content


def test_all_who_take_a_model_take_the_exported_file_with_the_same_answers(
    run: Path, exported: Export, color_folder: Path
) -> None:
    pictures = images_in(color_folder)
    for model in (exported.path, exported.path.parent):
        found = featherlight.Predictor(model).predict(pictures)
        for one, other in zip(found, featherlight.Predictor(run, device="cpu").predict(pictures), strict=True):
            assert one.label == other.label
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
    mine, original = featherlight.evaluate(exported.path), featherlight.evaluate(run, device="cpu")
    assert (mine.engine, original.engine) == ("onnxruntime", "torch")
    assert (mine.top1, mine.confusion_matrix, mine.split) == (original.top1, original.confusion_matrix, original.split)
    assert mine.loss == pytest.approx(original.loss, abs=1e-5)


@pytest.fixture(scope="module")
def warm(run: Path, tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> Export:
    """The same model with another temperature, as a single file, compared on images that were named."""
    model, folder = load_model(run), tmp_path_factory.mktemp("warm")
    path = save_model(
        model, folder / "warm.safetensors", model.classes, model.preprocessing, temperature=2.5,
        provenance=model.card.provenance,
    )  # fmt: skip
    return export(path, out=folder / "warm.onnx", form="shuffle", data=color_folder / "test")


def test_a_single_file_has_its_page_beside_it(warm: Export) -> None:
    assert (warm.path.name, warm.report) == ("warm.onnx", warm.path.with_name("warm.html"))
    assert warm.report.is_file()


def test_the_probabilities_inside_have_the_temperature(warm: Export, color_folder: Path) -> None:
    import onnxruntime

    image = featherlight.images.load_image(images_in(color_folder)[0])
    session = onnxruntime.InferenceSession(str(warm.path), providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(["logits", "probabilities"], {"image": image[None]})
    powers = np.exp(logits[0].astype(np.float64) / 2.5)
    np.testing.assert_allclose(probabilities[0], powers / powers.sum(), rtol=1e-5)


def test_tensor_input_and_half_weights(run: Path, tmp_path: Path, exported: Export) -> None:
    result = export(run, out=tmp_path / "m.onnx", input="tensor", half_weights=True, form="shuffle")
    assert result.verification.passed
    assert result.size_bytes < 0.6 * exported.size_bytes
    (given,) = onnx.load(result.path).graph.input
    dims = [dim.dim_value or dim.dim_param for dim in given.type.tensor_type.shape.dim]
    assert (given.name, dims) == ("input", ["batch", 3, 32, 32])


def test_openvino_has_two_files_and_the_same_answers(run: Path, openvino_export: Export, color_folder: Path) -> None:
    folder = openvino_export.path.parent
    assert {path.name for path in folder.iterdir()} == {"model.xml", "model.bin", "export.html"}
    assert openvino_export.verification.passed
    assert openvino_export.verification.engine == "openvino"
    assert openvino_export.size_bytes == sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    weights = sum(tensor.numel() for tensor in load_model(run).parameters())
    assert (folder / "model.bin").stat().st_size < 2.5 * weights  # half weights
    pictures = images_in(color_folder)
    found = featherlight.Predictor(folder).predict(pictures)
    expected = featherlight.Predictor(run, device="cpu").predict(pictures)
    assert [one.label for one in found] == [one.label for one in expected]
    engine = open_engine(folder)
    assert engine.exported.verification["passed"] is True  # type: ignore[attr-defined]


def test_the_openvino_engine_runs_onnx_files_too(run: Path, exported: Export) -> None:
    result = featherlight.verify(exported.path, run, engine="openvino")
    assert (result.passed, result.engine) == (True, "openvino")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v1_g3_x0_25"])
def test_networks_of_every_family_are_exported(tmp_path: Path, color_folder: Path, name: str) -> None:
    path = untrained(name, tmp_path, color_folder)
    for target in ("onnx", "openvino"):
        result = export(path, target, out=tmp_path / target, form="slices")
        assert result.verification.passed
        assert result.verification.max_diff < 1e-3


@pytest.mark.slow
def test_the_fastest_form_of_a_shufflenet_is_taken_and_told(tiny_run: Path, tmp_path: Path) -> None:
    result = export(tiny_run, out=tmp_path / "m.onnx")
    assert result.verification.passed
    told = "\n".join(result.explanation)
    assert "as it was: " in told
    assert told.count(", taken") == 1
    assert "fold_batch_norm: 56 places" in told
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(result.path).graph.node)


def test_a_form_that_the_target_cannot_write_is_left_out_and_told(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = OnnxTarget.write

    def refuse_gathers(self: OnnxTarget, draft: Draft, folder: Path) -> None:
        write(self, draft, folder)
        nodes = onnx.load(folder / "model.onnx").graph.node
        if draft.exported.input == "tensor" and any(node.op_type == "Gather" for node in nodes):
            raise UsageError("it has no gathers")

    monkeypatch.setattr(OnnxTarget, "write", refuse_gathers)
    two = partial(simplify_forms, forms=("slices", "gather"))  # the others would only take time
    monkeypatch.setattr("featherlight.workflows.fastest_form.simplify_forms", two)
    result = export(tiny_run, out=tmp_path / "m.onnx")
    assert result.verification.passed
    assert "  gather: it has no gathers" in result.explanation


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_int8_is_smaller_and_passes_its_gate(tiny_run: Path, tmp_path: Path, target: str) -> None:
    plain = export(tiny_run, target, out=tmp_path / "float", form="gather")
    result = export(tiny_run, target, out=tmp_path / "int8", form="gather", int8=True)
    assert (result.verification.precision, result.verification.passed) == ("int8", True)
    assert result.size_bytes < 0.6 * plain.size_bytes
    assert any("int8 in all" in line or "stay in float" in line for line in result.explanation)
    assert featherlight.verify(result.path, tiny_run).precision == "int8"


@pytest.mark.slow
@pytest.mark.parametrize("name", featherlight.list_models("*"))
def test_every_registered_network_is_exported(tmp_path: Path, color_folder: Path, name: str) -> None:
    path = untrained(name, tmp_path, color_folder)
    for target in ("onnx", "openvino"):
        assert export(path, target, out=tmp_path / target, form="slices").verification.passed


def untrained(name: str, folder: Path, data: Path) -> Path:
    """A model file whose statistics fit random images, so that its outputs differ from image to image."""
    torch.manual_seed(0)
    model = featherlight.create_model(name, 3, input_size=32)
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0
    model.train()(torch.randn(16, 3, 32, 32))
    fingerprint = open_source(data).fingerprint
    provenance = {"data": str(data), "fingerprint": fingerprint}
    preprocessing = featherlight.Preprocessing(32, crop_fraction=1.0)  # then the resize inside is exactly Pillow's
    return save_model(
        model, folder / "model.safetensors", ("blue", "green", "red"), preprocessing, provenance=provenance
    )


def test_other_images_can_be_named(run: Path, warm: Export, color_folder: Path) -> None:
    assert warm.verification.data == str(color_folder / "test")
    assert warm.verification.accuracy == warm.verification.reference_accuracy == featherlight.evaluate(run).top1


def test_images_of_unknown_classes_are_compared_without_accuracy(
    run: Path, exported: Export, tmp_path: Path, paint: Callable[[Path, str, int], Path]
) -> None:
    for k in range(4):
        paint(tmp_path / "data" / "cats" / f"{k}.png", "red", k)
        paint(tmp_path / "data" / "dogs" / f"{k}.png", "blue", k)
    result = featherlight.verify(exported.path, run, tmp_path / "data", split="all")
    assert (result.num_images, result.accuracy, result.passed) == (8, None, True)


def wrong_network(network: torch.nn.Module, *_: object) -> Chosen:
    """What a broken pass would make: a network that turns its classes round."""

    class Wrong(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).flip(1)

    return Chosen(Wrong().eval(), ())


def test_other_answers_leave_the_old_file_and_say_what_to_try(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(export_module, "choose_form", wrong_network)
    with pytest.raises(GateFailedError, match=r"of 12 images are named differently.*Try --input tensor") as caught:
        export(run, out=tmp_path / "m.onnx")
    assert caught.value.exit_code == 1
    assert (tmp_path / "m.onnx").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m-failed.html"}
    assert "Named differently" in (tmp_path / "m-failed.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [10_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_a_full_disk_leaves_the_old_export_whole(
    exported: Export, run: Path, size: int, disk_with_room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    before = {path.name: path.read_bytes() for path in exported.path.parent.iterdir()}
    with disk_with_room_for(size), pytest.raises(FeatherlightError, match="cannot write"):
        export(run, form="shuffle")
    assert {path.name: path.read_bytes() for path in exported.path.parent.iterdir()} == before
    assert not list(run.glob(".*"))


def test_exporting_again_replaces_the_earlier_export_as_a_whole(openvino_export: Export, run: Path) -> None:
    folder = openvino_export.path.parent
    half = (folder / "model.bin").stat().st_size
    export(run, "openvino", out=folder, form="shuffle")
    assert (folder / "model.bin").stat().st_size > 1.8 * half
    assert {path.name for path in folder.iterdir()} == {"model.xml", "model.bin", "export.html"}
    assert {path.name for path in folder.parent.iterdir()} == {"folder"}


def test_a_folder_with_other_things_is_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other things than an export"):
        export(run, out=tmp_path)
    with pytest.raises(UsageError, match="holds other things than an export"):
        export(run, out=run)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tensorrt"}, "there is no target 'tensorrt'; choose one of onnx, openvino"),
        ({"to": "tflite"}, "there is no target 'tflite'; did you mean litert?"),
        ({"to": "onx"}, "there is no target 'onx'; did you mean onnx?"),
        ({"input": "pixels"}, "input is 'pixels'; choose image or tensor"),
        ({"to": "openvino", "out": "m.xml"}, "makes model.xml and model.bin; name a folder"),
        ({"to": "onnx", "out": "m.xml"}, "makes model.onnx; name a folder"),
        ({"form": "wavy"}, "there is no form named 'wavy'"),
        ({"half_weights": True, "int8": True}, "leave out --half-weights or --int8"),
    ],
)
def test_unfit_options_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        export(run, **{"out": "x.onnx", **options})  # type: ignore[arg-type]
    assert not os.listdir(tmp_path)


def test_an_exported_file_is_not_exported_again(exported: Export) -> None:
    with pytest.raises(UsageError, match="is an exported file"):
        export(exported.path)


def test_a_model_that_does_not_say_what_it_was_trained_on_needs_data(run: Path, tmp_path: Path) -> None:
    model = load_model(run)
    path = save_model(model, tmp_path / "m.safetensors", model.classes, model.preprocessing)
    with pytest.raises(UsageError, match="name images to compare on, best those it is for: --data DATA"):
        export(path)


def test_models_with_other_classes_are_not_compared(run: Path, exported: Export, tmp_path: Path) -> None:
    model = load_model(run)
    path = save_model(
        model, tmp_path / "m.safetensors", ("x", "y", "z"), model.preprocessing, provenance=model.card.provenance
    )
    with pytest.raises(FeatherlightError, match=r"other classes|never saw"):
        featherlight.verify(exported.path, path)


@pytest.mark.parametrize("place", [100, 5000, -300])
def test_a_damaged_export_is_an_error(exported: Export, tmp_path: Path, place: int) -> None:
    content = exported.path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[:place])
    with pytest.raises(ModelFileError, match=r"cut\.onnx"):
        open_engine(tmp_path / "cut.onnx")


def test_an_unknown_operator_is_a_clear_error(exported: Export, tmp_path: Path) -> None:
    model = onnx.load(exported.path)
    model.graph.node[-1].op_type = "Telepathy"
    onnx.save(model, tmp_path / "m.onnx")
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(ModelFileError, match="Telepathy"):
            open_engine(tmp_path / "m.onnx", engine)


def test_openvino_weights_that_are_missing_or_cut_are_an_error(openvino_export: Export, tmp_path: Path) -> None:
    shutil.copy(openvino_export.path, tmp_path / "model.xml")
    with pytest.raises(ModelFileError, match=r"its weights model\.bin are not beside it"):
        open_engine(tmp_path / "model.xml")
    (tmp_path / "model.bin").write_bytes(openvino_export.path.with_name("model.bin").read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="OpenVINO cannot"):
        open_engine(tmp_path / "model.xml")


def test_engines_refuse_files_of_others(run: Path, exported: Export) -> None:
    with pytest.raises(UsageError, match="the torch engine cannot run"):
        open_engine(exported.path, "torch")
    with pytest.raises(UsageError, match="make it a file for others: featherlight export"):
        open_engine(run, "onnxruntime")
    with pytest.raises(UsageError, match="computes on the CPU, not on 'cuda'"):
        open_engine(exported.path, device="cuda")
    with pytest.raises(UsageError, match="threads is 0"):
        open_engine(exported.path, threads=0)


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "onnx", "onnx_ir", "onnxscript", "matplotlib", "sklearn"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from featherlight.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_exported_files_predict_and_are_evaluated_without_torch(
    exported: Export, openvino_export: Export, color_folder: Path
) -> None:
    pictures = images_in(color_folder)
    for path, engine in ((exported.path, "onnxruntime"), (openvino_export.path.parent, "openvino")):
        answers = in_python(WITHOUT_TORCH, "predict", path, *pictures, "--json")
        rows = [json.loads(line) for line in answers.stdout.splitlines()]
        expected = featherlight.Predictor(path).predict(pictures)
        assert [row["label"] for row in rows] == [one.label for one in expected]
        evaluation = json.loads(in_python(WITHOUT_TORCH, "evaluate", path, color_folder, "--json").stdout)
        assert (evaluation["engine"], evaluation["num_images"]) == (engine, 12)


ENGINES_COME_AND_GO = """
import signal, subprocess, sys
from featherlight.engines import open_engine

engines = [open_engine(sys.argv[1]) for _ in range(2)]
engines.pop(0)
engines.clear()
signal.signal(signal.SIGCHLD, lambda *_: print("signal", flush=True))
subprocess.run([sys.executable, "-c", ""])
"""


def test_signals_are_survived_after_openvino_engines_have_come_and_gone(openvino_export: Export) -> None:
    assert in_python(ENGINES_COME_AND_GO, openvino_export.path.parent).stdout == "signal\n"


def test_a_missing_runtime_says_what_to_install(exported: Export, color_folder: Path) -> None:
    script = WITHOUT_TORCH.replace('"torch",', '"torch", "onnxruntime", "openvino",')
    result = in_python(script, "predict", exported.path, color_folder, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert 'needs onnxruntime, which is not installed. Run: pip install "featherlight[onnxruntime]"' in result.stderr


@pytest.mark.parametrize(
    ("target", "int8", "package", "extra"),
    [("onnx", False, "onnxruntime", "onnxruntime"), ("openvino", False, "onnxscript", "onnx"),
     ("openvino", True, "nncf", "int8")],
)  # fmt: skip
def test_what_an_export_needs_is_looked_for_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, target: str, int8: bool, package: str, extra: str
) -> None:
    monkeypatch.setattr("featherlight.targets.base.find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingExtraError, match=rf"to {target} needs {package}.*featherlight\[{extra}\]"):
        find_target(target, int8=int8)


def in_python(script: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


@pytest.mark.slow
def test_the_base_install_with_onnxruntime_predicts(exported: Export, tmp_path: Path, color_folder: Path) -> None:
    """Prints size on disk and time to start, which docs/deployment.md states."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    project = f"{Path(__file__).parents[2]}[onnxruntime]"
    subprocess.run([str(python), "-m", "pip", "install", "-q", project], check=True, capture_output=True)
    assert subprocess.run([str(python), "-c", "import torch"], capture_output=True, check=False).returncode == 1
    picture = color_folder / "test" / "red" / "00.png"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    start = time.perf_counter()
    command = [str(python), "-m", "featherlight", "predict", str(exported.path), str(picture), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["label"] == featherlight.Predictor(exported.path).predict(picture)[0].label
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    megabytes = sum(file.stat().st_size for file in site.rglob("*") if file.is_file() and "pip" not in file.parts) / 1e6
    sys.stderr.write(f"site-packages {megabytes:.0f} MB, predict in {seconds:.2f} s\n")
    assert megabytes < 400
