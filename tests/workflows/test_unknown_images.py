from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import featherlight
from featherlight.errors import DataError, UsageError
from featherlight.model_file import read_card, read_tensors
from featherlight.predictor import Predictor
from featherlight.sources import open_source, open_unlabelled
from featherlight.workflows.evaluate import evaluate
from featherlight.workflows.export import export

DATA = Path(os.environ.get("FEATHERLIGHT_TEST_DATA", "/nonexistent"))


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty stripes and checks of other colours, loose in a folder."""
    folder = tmp_path_factory.mktemp("unknown")
    rng = np.random.default_rng(0)
    for number in range(20):
        squares = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(squares).resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the model file, to be changed."""
    return Path(shutil.copy(tiny_run / "model.safetensors", tmp_path / "model.safetensors"))


@pytest.fixture(scope="module")
def half_rejecting(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with a threshold that half of the validation images do not reach."""
    path = Path(shutil.copy(tiny_run / "model.safetensors", tmp_path_factory.mktemp("half") / "model.safetensors"))
    evaluate(path, device="cpu", reject_rate=0.5, store=True)
    return path


def probabilities(model: Path, images: Path) -> list[float]:
    return [answer.probability or 0 for answer in Predictor(model, device="cpu").predict(sorted(images.rglob("*.png")))]


def test_training_stores_a_threshold_that_few_validation_images_miss(tiny_run: Path, color_folder: Path) -> None:
    reject = read_card(tiny_run / "model.safetensors").reject
    assert reject is not None
    assert {key: value for key, value in reject.items() if key != "threshold"} == {
        "score": "probability", "target_false_reject_rate": 0.05, "fitted_on": "val", "num_images": 12,
    }  # fmt: skip
    seen = probabilities(tiny_run, color_folder / "val")
    assert min(seen) - 2e-3 < reject["threshold"] < min(seen)  # a twentieth of twelve is none


def test_training_with_reject_rate_0_stores_none(color_folder: Path, tmp_path: Path) -> None:
    run = featherlight.train(
        color_folder, "mobilenet_v1_x0_25", epochs=1, input_size=16, reject_rate=0, speed="plain", out=tmp_path / "run"
    )
    assert read_card(run.model_path).reject is None
    assert evaluate(run.path, device="cpu").reject is None


def test_images_below_the_threshold_are_rejected_and_named_all_the_same(
    half_rejecting: Path, color_folder: Path
) -> None:
    threshold = read_card(half_rejecting).reject["threshold"]
    answers = Predictor(half_rejecting, device="cpu").predict(sorted((color_folder / "val").rglob("*.png")))
    assert sum(answer.rejected for answer in answers) == 6
    for answer in answers:
        assert answer.rejected == (answer.probability < threshold) == answer.to_row()["rejected"]
        assert answer.label in ("blue", "green", "red")


def test_evaluation_says_how_many_are_kept(half_rejecting: Path) -> None:
    found = evaluate(half_rejecting, split="val", device="cpu").reject
    assert (found["kept"], found["accuracy_of_kept"], found["target_false_reject_rate"]) == (0.5, 1.0, 0.5)


def test_unknown_images_are_measured_at_the_models_threshold(
    half_rejecting: Path, unknown: Path, color_folder: Path
) -> None:
    found = evaluate(half_rejecting, unknown=unknown, device="cpu").reject
    known, strange = probabilities(half_rejecting, color_folder / "test"), probabilities(half_rejecting, unknown)
    rejection = found["unknown"]
    assert (rejection["data"], rejection["num_images"]) == (str(unknown), 20)
    assert rejection["auroc"] == rejection["auroc_of"]["probability"]
    assert rejection["auroc"] == pytest.approx(roc_auc_score([1] * 12 + [0] * 20, known + strange), abs=1e-9)
    assert rejection["false_accept_rate"] == np.mean(np.array(strange) >= found["threshold"])
    assert rejection["mean_probability"] == pytest.approx(np.mean(strange), rel=1e-5)


@pytest.mark.parametrize("score", ["energy", "probability"])
def test_threshold_for_a_false_accept_rate_is_fitted_to_one_half_and_stored(
    model: Path, unknown: Path, score: str
) -> None:
    before = read_card(model), read_tensors(model)
    found = evaluate(model, unknown=unknown, false_accept_rate=0.2, reject_score=score, store=True, device="cpu").reject
    assert (found["score"], found["target_false_accept_rate"], found["fitted_on"]) == (score, 0.2, str(unknown))
    assert (found["num_images"], found["unknown"]["num_images"]) == (10, 10)
    card, tensors = read_card(model), read_tensors(model)
    assert card.reject == {key: found[key] for key in card.reject}
    assert (card.classes, card.provenance, card.temperature) == (
        before[0].classes, before[0].provenance, before[0].temperature,
    )  # fmt: skip
    assert all(np.array_equal(tensors[name], array) for name, array in before[1].items())
    answers = Predictor(model, device="cpu").predict(sorted(unknown.glob("*.png")))
    accepted = sum(not answer.rejected for answer in answers)
    assert accepted <= 2 + 10 * found["unknown"]["false_accept_rate"] + 1e-9


def test_threshold_that_is_not_stored_changes_no_file(model: Path, unknown: Path) -> None:
    before = model.read_bytes()
    found = evaluate(model, unknown=unknown, false_accept_rate=0.2, device="cpu").reject
    assert found["target_false_accept_rate"] == 0.2
    assert model.read_bytes() == before


def test_reject_rate_0_takes_the_threshold_away(model: Path, unknown: Path) -> None:
    assert evaluate(model, reject_rate=0, store=True, device="cpu").reject is None
    assert read_card(model).reject is None
    assert not any(answer.rejected for answer in Predictor(model, device="cpu").predict(sorted(unknown.glob("*.png"))))
    for options in ({}, {"reject_rate": 0}):
        with pytest.raises(UsageError, match="this model rejects nothing; fit a threshold"):
            evaluate(model, unknown=unknown, device="cpu", **options)


def test_exported_files_reject_the_same_images(half_rejecting: Path, color_folder: Path, tmp_path: Path) -> None:
    pictures = sorted((color_folder / "val").rglob("*.png"))
    expected = [answer.rejected for answer in Predictor(half_rejecting, device="cpu").predict(pictures)]
    made = export(half_rejecting, out=tmp_path / "m.onnx", form="shuffle", data=color_folder)
    for engine in ("onnxruntime", "openvino"):
        predictor = Predictor(made.path, engine)
        assert predictor.engine.card.reject == read_card(half_rejecting).reject
        assert [answer.rejected for answer in predictor.predict(pictures)] == expected
    assert sum(expected) == 6
    with pytest.raises(UsageError, match="is exported; store the threshold in the model file and export that again"):
        evaluate(made.path, color_folder, reject_rate=0.1, store=True)


def test_the_model_of_the_package_stays_as_it_is(unknown: Path) -> None:
    with pytest.raises(UsageError, match=r"cifar10 comes with the package and stays as it is; copy it first: .*\.saf"):
        evaluate("cifar10", unknown, reject_rate=0.1, store=True)


def test_reject_rate_needs_validation_images(model: Path, tmp_path: Path, color_folder: Path) -> None:
    shutil.copytree(color_folder / "test" / "red", tmp_path / "photos" / "red")
    with pytest.raises(UsageError, match="photos has no validation images to fit a reject rate to; leave DATA"):
        evaluate(model, tmp_path / "photos", reject_rate=0.1, device="cpu")


def test_one_unknown_image_is_too_few_to_fit_to(model: Path, unknown: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(unknown / "0.png", tmp_path / "one")
    with pytest.raises(UsageError, match="one image; a threshold is fitted to half of them"):
        evaluate(model, unknown=tmp_path / "one", false_accept_rate=0.1, device="cpu")
    assert evaluate(model, unknown=tmp_path / "one", device="cpu").reject["unknown"]["num_images"] == 1


def test_unlabelled_images_are_found_wherever_they_lie(color_folder: Path, unknown: Path, tmp_path: Path) -> None:
    assert len(open_unlabelled(color_folder)) == 60
    loose = open_unlabelled(unknown)
    assert (len(loose), loose.read(3).shape, set(loose.labels.tolist())) == (20, (32, 32, 3), {0})
    assert len(open_unlabelled(str(unknown / "1*.png"))) == 11
    assert len(open_unlabelled("digits")) == 1797
    (tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"list\.csv"):
        open_unlabelled(tmp_path / "list.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        open_unlabelled(tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "sign-digits").is_dir(), reason="FEATHERLIGHT_TEST_DATA has no sign-digits")
def test_signs_that_the_model_never_saw_are_told_from_those_it_did(tmp_path: Path) -> None:
    for name in "0123456789":
        folder = "held-out" if name in "38" else "signs"
        shutil.copytree(DATA / "sign-digits" / name, tmp_path / folder / name)
    run = featherlight.train(
        tmp_path / "signs", "mobilenet_v1_x0_25", epochs=16, batch_size=32, input_size=48, stem="cifar", speed="plain",
        device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    found = evaluate(run.path, unknown=tmp_path / "held-out", device="cpu")
    assert found.top1 > 0.9
    assert found.reject["unknown"]["auroc"] > 0.75
    strict = evaluate(run.path, unknown=tmp_path / "held-out", false_accept_rate=0.05, device="cpu").reject
    assert strict["unknown"]["false_accept_rate"] < 0.12  # fitted to one half, 0.05 plus what chance adds to the other


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10-jpeg").is_dir(), reason="FEATHERLIGHT_TEST_DATA has no cifar10-jpeg")
def test_digits_are_told_from_photos(tmp_path: Path) -> None:
    run = featherlight.train("digits", epochs=8, speed="plain", device="cpu", out=tmp_path / "run")
    split = open_source("digits").splits["test"]
    assert len(split) > 300
    found = evaluate(run.path, unknown=DATA / "cifar10-jpeg" / "test", false_accept_rate=0.05, device="cpu")
    assert found.top1 > 0.95
    assert found.reject["unknown"]["auroc"] > 0.6
    assert found.reject["unknown"]["false_accept_rate"] < 0.07


def test_images_it_was_trained_on_are_no_unknown_ones(tiny_run: Path, color_folder: Path) -> None:
    with pytest.raises(UsageError, match="images of other things"):
        evaluate(tiny_run, device="cpu", unknown=color_folder)


def test_folders_named_like_classes_are_told(
    tiny_run: Path, color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(color_folder / "val", tmp_path / "others")
    evaluate(tiny_run, device="cpu", unknown=tmp_path / "others")
    assert "3 folders are named like classes of the model ('blue', 'green', 'red')" in capsys.readouterr().err
