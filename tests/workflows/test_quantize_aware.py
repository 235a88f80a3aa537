from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import featherlight
from featherlight import load_model, save_model
from featherlight.errors import DataError, UsageError
from featherlight.images import normalize
from featherlight.sources import open_source
from featherlight.sources.reading import prepared_batches
from featherlight.targets.onnx import export_network
from featherlight.targets.quantize_onnx import quantize_onnx
from featherlight.targets.sensitivity import compute_logits
from featherlight.workflows.calibration import calibration_batches, choose_balanced
from featherlight.workflows.quantize_aware import train_quantize_aware


def scale_channels(run: Path, out: Path, factor: float) -> Path:
    """The same function, but in each branch one channel is so wide that int8 has few steps for the others."""
    model = load_model(run)
    with torch.no_grad():
        for branch in (unit.branch2 for stage in (model.stage2, model.stage3, model.stage4) for unit in stage):
            branch[1].weight[0] *= factor
            branch[1].bias[0] *= factor
            branch[3].weight[0] /= factor
    return save_model(model, out, model.classes, model.preprocessing, provenance=model.card.provenance)


def int8_accuracy(model_file: Path, folder: Path) -> tuple[float, float]:
    """Accuracy on the test images in float and in int8, and the error of the logits."""
    import onnx
    import onnx_ir as ir

    model = load_model(model_file)
    card = model.card
    ir.save(export_network(model, card.preprocessing), folder / "float.onnx")
    learnt = card.provenance.get("quantization")
    made = quantize_onnx(folder / "float.onnx", folder / "int8.onnx", calibration_batches(card), learnt=learnt)
    assert made.method == ("minmax" if learnt is None else "learnt")
    split = open_source(card.provenance["data"]).splits["test"]
    images = [normalize(batch.images, card.preprocessing) for batch in prepared_batches(split, card.preprocessing)]
    logits = [compute_logits(onnx.load(folder / name), images) for name in ("float.onnx", "int8.onnx")]
    return tuple(float((found.argmax(1) == split.labels).mean()) for found in logits)  # type: ignore[return-value]


def test_fine_tuned_model_is_a_usual_one_with_learnt_ranges(tiny_run: Path, tmp_path: Path) -> None:
    run = train_quantize_aware(tiny_run, out=tmp_path / "run", epochs=1)
    assert run.metrics["top1"] == 1.0
    model = load_model(run.path)
    rows = model.card.provenance["quantization"]["layers"]
    assert [row["layer"] for row in rows][:2] == ["conv1.0", "stage2.0.branch1.0"]
    assert len(rows) == 57
    assert int8_accuracy(run.model_path, tmp_path) == (1.0, 1.0)
    assert featherlight.evaluate(run.path).top1 == 1.0


@pytest.mark.slow
def test_interrupted_fine_tuning_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    settings = {"epochs": 2, "seed": 3}
    whole = train_quantize_aware(tiny_run, out=tmp_path / "whole", **settings)
    script = (
        "import sys; from featherlight.workflows.quantize_aware import train_quantize_aware as t; "
        "from featherlight.training import trainer; close = trainer.Trainer._close_epoch\n"
        "def stop(self): close(self); import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
        f"trainer.Trainer._close_epoch = stop; t({str(tiny_run)!r}, out={str(tmp_path / 'half')!r}, **{settings!r})"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    half = featherlight.resume(tmp_path / "half")
    for name, value in load_model(whole.path).state_dict().items():
        assert torch.equal(value, load_model(half.path).state_dict()[name]), name


@pytest.mark.slow
def test_fine_tuning_recovers_what_rounding_loses(tmp_path: Path) -> None:
    run = featherlight.train("digits", "shufflenet_v2_x0_5", out=tmp_path / "run", epochs=6)
    harmed = scale_channels(run.path, tmp_path / "harmed.safetensors", 100)
    (tmp_path / "before").mkdir()
    before_float, before = int8_accuracy(harmed, tmp_path / "before")
    assert before_float == pytest.approx(run.metrics["top1"])
    assert before < before_float - 0.02  # by design
    tuned = train_quantize_aware(harmed, out=tmp_path / "tuned", epochs=1)
    (tmp_path / "after").mkdir()
    _, after = int8_accuracy(tuned.model_path, tmp_path / "after")
    assert after >= before_float - 0.005


def test_other_classes_and_models_without_images_are_refused(
    tiny_run: Path, tmp_path: Path, cli: Callable[..., object]
) -> None:
    with pytest.raises((UsageError, DataError), match="classes"):
        train_quantize_aware(tiny_run, "digits", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    model = load_model(tiny_run)
    save_model(model, tmp_path / "bare.safetensors", model.classes, model.preprocessing)
    with pytest.raises(UsageError, match="does not say what it was trained on"):
        train_quantize_aware(tmp_path / "bare.safetensors")
    assert cli("train", "--quantize-aware", tiny_run, "--model", "mobilenet_v1_x0_25").code == 2  # type: ignore[attr-defined]


def test_calibration_images_are_balanced_and_the_same_each_time() -> None:
    labels = np.array([0] * 500 + [1] * 50 + [2] * 5)
    chosen = choose_balanced(labels, 60)
    assert np.bincount(labels[chosen]).tolist() == [28, 27, 5]
    assert chosen.tolist() == choose_balanced(labels, 60).tolist() != choose_balanced(labels, 60, seed=1).tolist()
    assert sorted(choose_balanced(labels, 9999)) == list(range(555))
