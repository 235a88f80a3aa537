from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.engines import open_engine
from featherlight.errors import DataError, ModelFileError, UsageError
from featherlight.metrics import Evaluation
from featherlight.models.weights import load_model, save_model
from featherlight.predictor import Predictor
from featherlight.sources import open_source
from featherlight.workflows.evaluate import evaluate, evaluate_split

Paint = Callable[[Path, str, int], Path]

# True class -> colours of its images: rows of a confusion matrix that is not symmetric.
MUDDLED = {
    "blue": ["blue", "blue", "red"],
    "green": ["green", "blue", "blue", "blue", "green"],
    "red": ["red", "green", "red", "red"],
}


@pytest.fixture(scope="module")
def muddled(tmp_path_factory: pytest.TempPathFactory, paint: Paint) -> Path:
    """A folder whose test split has wrong labels, and whose other splits are right."""
    root = tmp_path_factory.mktemp("muddled")
    for name, colours in MUDDLED.items():
        paint(root / "train" / name / "0.png", name, 900)
        paint(root / "val" / name / "0.png", name, 901)
        for k, colour in enumerate(colours):
            paint(root / "test" / name / f"{k}.png", colour, 902 + k)
    return root


@pytest.fixture
def colors(color_folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be changed."""
    return Path(shutil.copytree(color_folder, tmp_path / "my colors"))


@pytest.fixture
def model_alone(tiny_run: Path, tmp_path: Path) -> Path:
    """The model in a file that does not say where it came from."""
    model = load_model(tiny_run)
    return save_model(model, tmp_path / "alone.safetensors", model.classes, model.preprocessing, temperature=1.7)


def test_numbers_are_those_computed_by_hand_from_predictions(model_alone: Path, muddled: Path) -> None:
    found = evaluate(model_alone, muddled, device="cpu")
    images = sorted((muddled / "test").rglob("*.png"))
    answers = Predictor(model_alone, device="cpu").predict(images)
    pairs = [(image.parent.name, answer.label) for image, answer in zip(images, answers, strict=True)]
    likelihoods = [dict(answer.top)[true] for (true, _), answer in zip(pairs, answers, strict=True)]
    assert found.num_images == 12
    assert found.classes == ["blue", "green", "red"]
    assert found.top1 == sum(true == named for true, named in pairs) / 12
    assert found.top5 == 1.0
    assert found.loss == pytest.approx(-np.mean(np.log(likelihoods)), rel=1e-4)
    matrix = [[pairs.count((true, named)) for named in found.classes] for true in found.classes]
    assert found.confusion_matrix == matrix == [[2, 0, 1], [3, 2, 0], [0, 1, 3]]
    assert found.most_confused == [["green", "blue", 3], ["blue", "red", 1], ["red", "green", 1]]
    assert found.per_class["green"] == {
        "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 5), "f1": pytest.approx(1 / 2), "support": 5
    }  # fmt: skip
    assert found.macro_f1 == pytest.approx(np.mean([4 / 8, 1 / 2, 6 / 8]))
    assert (found.model, found.data, found.split, found.engine) == (str(model_alone), str(muddled), "test", "torch")
    assert found.temperature == 1.7
    assert found.unreadable == []


def test_without_data_the_test_split_of_the_training_data_is_used(tiny_run: Path, color_folder: Path) -> None:
    found = evaluate(tiny_run, device="cpu")
    assert (found.data, found.split, found.num_images) == (str(color_folder), "test", 12)
    assert found.top1 == 1.0
    stored = Evaluation.from_json((tiny_run / "evaluation.json").read_text())
    assert (found.top1, found.confusion_matrix, found.per_class) == (
        stored.top1,
        stored.confusion_matrix,
        stored.per_class,
    )
    assert found.loss == pytest.approx(stored.loss, rel=1e-5)


def test_run_directory_and_its_model_file_give_the_same(tiny_run: Path) -> None:
    by_run, by_file = evaluate(tiny_run, device="cpu"), evaluate(tiny_run / "model.safetensors", device="cpu")
    assert (by_run.loss, by_run.confusion_matrix) == (by_file.loss, by_file.confusion_matrix)


@pytest.mark.parametrize(("split", "count"), [("train", 36), ("val", 12), ("test", 12), ("all", 60)])
def test_any_split_can_be_evaluated(tiny_run: Path, split: str, count: int) -> None:
    found = evaluate(tiny_run, split=split, device="cpu")
    assert (found.split, found.num_images) == (split, count)
    assert {name: row["support"] for name, row in found.per_class.items()} == dict.fromkeys(
        ("blue", "green", "red"), count // 3
    )


def test_without_a_test_split_validation_is_used(tiny_run: Path, colors: Path) -> None:
    shutil.rmtree(colors / "test")
    assert evaluate(tiny_run, colors, device="cpu").split == "val"
    with pytest.raises(UsageError, match="has no test split; it has: train, val"):
        evaluate(tiny_run, colors, split="test", device="cpu")


@pytest.mark.parametrize("left_out", ["blue", "green", "red"])
def test_classes_are_matched_by_name_where_data_numbers_them_otherwise(
    tiny_run: Path, colors: Path, left_out: str
) -> None:
    for split in ("train", "val", "test"):
        shutil.rmtree(colors / split / left_out)
    found = evaluate(tiny_run, colors, device="cpu")
    assert found.classes == ["blue", "green", "red"]
    assert found.top1 == 1.0
    assert {name: row["support"] for name, row in found.per_class.items()} == {
        name: 4 * (name != left_out) for name in found.classes
    }


def test_model_whose_classes_stand_in_another_order_is_as_right(tiny_run: Path, tmp_path: Path) -> None:
    model = load_model(tiny_run)
    classifier = model.fc if hasattr(model, "fc") else model.classifier
    order = [2, 0, 1]
    classifier.weight.data, classifier.bias.data = classifier.weight.data[order], classifier.bias.data[order]
    provenance = {"data": model.card.provenance["data"]}
    classes = [model.classes[k] for k in order]
    path = save_model(model, tmp_path / "m.safetensors", classes, model.preprocessing, provenance=provenance)
    found = evaluate(path, device="cpu")
    assert found.classes == ["red", "blue", "green"]
    assert found.top1 == 1.0


def test_class_that_training_never_saw_is_an_error_that_names_it(tiny_run: Path, colors: Path, paint: Paint) -> None:
    for split in ("train", "val", "test"):
        paint(colors / split / "crimson" / "0.png", "red", 0)
    with pytest.raises(DataError, match=r"the model never saw this class: crimson\. It knows: blue, green, red"):
        evaluate(tiny_run, colors, device="cpu")


def test_classes_that_differ_only_in_case_are_different(tiny_run: Path, colors: Path) -> None:
    for split in ("train", "val", "test"):
        (colors / split / "red").rename(colors / split / "Red")
        (colors / split / "blue").rename(colors / split / "Blue")
    with pytest.raises(DataError, match="the model never saw these classes: Blue, Red"):
        evaluate(tiny_run, colors, device="cpu")


def test_unreadable_image_is_named_skipped_and_counted(
    tiny_run: Path, colors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = colors / "test" / "red" / "00.png"
    broken.write_bytes(b"no image")
    found = evaluate(tiny_run, colors, device="cpu")
    assert (found.num_images, found.per_class["red"]["support"], found.top1) == (11, 3, 1.0)
    ((path, reason),) = found.unreadable
    assert (path, reason.split(" (")[0]) == (str(broken), "not an image")
    err = capsys.readouterr().err
    assert f"skipped {broken}: not an image" in err
    assert "1 unreadable image skipped\n" in err


def test_unreadable_image_is_named_and_counted_where_images_are_split_by_their_pixels(
    tiny_run: Path, tmp_path: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    for colour in ("blue", "red"):
        for k in range(30):
            paint(tmp_path / "flat" / colour / f"{k}.png", colour, k)
    broken = tmp_path / "flat" / "red" / "broken.png"
    broken.touch()
    found = evaluate(tiny_run, tmp_path / "flat", device="cpu")
    assert found.unreadable == [[str(broken), "empty file"]]
    err = capsys.readouterr().err
    assert err.count(f"skipped {broken}: empty file") == 1
    assert err.count("1 unreadable image skipped\n") == 1
    with pytest.raises(DataError, match=r"broken\.png: empty file"):
        evaluate(tiny_run, tmp_path / "flat", strict=True, device="cpu")


def test_strict_makes_an_unreadable_image_an_error(tiny_run: Path, colors: Path) -> None:
    (colors / "test" / "red" / "00.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 unreadable image, the first: .*00\.png: empty file"):
        evaluate(tiny_run, colors, strict=True, device="cpu")


def test_split_without_one_readable_image_is_an_error(tiny_run: Path, colors: Path) -> None:
    for image in (colors / "test").rglob("*.png"):
        image.write_bytes(b"")
    with pytest.raises(DataError, match="not one image could be read"):
        evaluate(tiny_run, colors, device="cpu")


def test_out_gets_the_same_numbers_and_a_page(tiny_run: Path, muddled: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    found = evaluate(tiny_run, muddled, out=out, device="cpu")
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]
    assert Evaluation.from_json((out / "evaluation.json").read_text()) == found
    page = (out / "report.html").read_text()
    assert all(name in page for name in ("blue", "green", "red"))
    assert page.count("data:image/") >= 5  # a thumbnail for each mistake


def test_command_in_the_page_can_be_pasted_into_a_shell(tiny_run: Path, colors: Path, tmp_path: Path) -> None:
    evaluate(tiny_run, colors, out=tmp_path / "out", device="cpu")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"featherlight evaluate {tiny_run} &#39;{colors}&#39; --split test" in page


def test_mistakes_are_the_wrong_images_most_confident_first(tiny_run: Path, muddled: Path) -> None:
    evaluation, pictured = evaluate_split(open_engine(tiny_run, device="cpu"), open_source(muddled), "test", "m")
    assert [one.path for one in pictured] == [row["path"] for row in evaluation.mistakes]
    mistakes = [one for one in pictured if one.kind == "worst"]
    assert len(mistakes) == round(12 * (1 - evaluation.top1)) == 5
    assert [m.probability for m in mistakes] == sorted((m.probability for m in mistakes), reverse=True)
    for mistake in mistakes:
        path = Path(mistake.path)
        assert mistake.true == path.parent.name
        assert mistake.predicted == MUDDLED[mistake.true][int(path.stem)] != mistake.true
        assert mistake.image.shape == (32, 32, 3)
    rows = [row for row in evaluation.mistakes if row["kind"] == "worst"]
    assert [row["path"] for row in rows] == [mistake.path for mistake in mistakes]
    assert len(evaluation.mistakes) == 12  # the others are right, and the least certain


def test_images_of_mistakes_are_small_however_large_they_are(tiny_run: Path, tmp_path: Path) -> None:
    for name in ("blue", "green"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (2000, 1500), (210, 40, 50)).save(tmp_path / "photos" / name / "0.png")
    source = open_source(tmp_path / "photos", as_it_is=True)
    _, mistakes = evaluate_split(open_engine(tiny_run, device="cpu"), source, "test", "m")
    assert [mistake.image.shape for mistake in mistakes] == [(384, 512, 3)] * 2


def test_model_that_does_not_know_its_data_asks_for_it(model_alone: Path) -> None:
    with pytest.raises(UsageError, match=r"does not say what it was trained on; name the images"):
        evaluate(model_alone, device="cpu")


def test_training_data_that_is_gone_is_an_error(tiny_run: Path, tmp_path: Path) -> None:
    model = load_model(tiny_run)
    gone = {"data": str(tmp_path / "gone")}
    path = save_model(model, tmp_path / "m.safetensors", model.classes, model.preprocessing, provenance=gone)
    with pytest.raises(DataError, match=r"no data at '.*gone'"):
        evaluate(path, device="cpu")


def test_missing_model_and_unknown_engine_are_errors(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such model file"):
        evaluate(tmp_path / "none")
    with pytest.raises(UsageError, match="unknown engine"):
        evaluate(tiny_run, engine="none")


def test_every_field_is_plain_json(tiny_run: Path) -> None:
    fields = json.loads(evaluate(tiny_run, device="cpu").to_json())
    assert set(fields) == {
        "model", "data", "split", "engine", "num_images", "classes", "top1", "top5", "loss",
        "macro_precision", "macro_recall", "macro_f1", "per_class",
        "confusion_matrix", "most_confused", "temperature", "unreadable", "top1_interval", "intervals", "ece", "nll",
        "brier", "reliability", "reject", "mistakes", "corruptions", "tta",
    }  # fmt: skip


def test_all_images_of_another_folder_are_measured_even_few_of_one_class(
    tiny_run: Path, tmp_path: Path, paint: Callable[[Path, str, int], Path]
) -> None:
    for number in range(3):
        paint(tmp_path / "photos" / "red" / f"{number}.png", "red", number)
    evaluation = evaluate(tiny_run, tmp_path / "photos")
    assert (evaluation.split, evaluation.num_images) == ("test", 3)
    assert evaluate(tiny_run, tmp_path / "photos", split="all").num_images == 3


def test_changed_training_data_is_told(
    tiny_run: Path, color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(tiny_run)
    assert "has changed" not in capsys.readouterr().err
    extra = color_folder / "train" / "red" / "extra.png"
    shutil.copy(next((color_folder / "train" / "red").glob("*.png")), extra)
    try:
        evaluate(tiny_run)
    finally:
        extra.unlink()
    assert "has changed since this model was trained" in capsys.readouterr().err
