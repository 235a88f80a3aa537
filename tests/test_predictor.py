from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from featherlight.errors import FeatherlightError, ModelFileError, UsageError
from featherlight.images import Preprocessing, load_image, normalize, resize_image
from featherlight.models.registry import create_model
from featherlight.models.weights import load_model, save_model
from featherlight.predictor import Prediction, Predictor


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> Predictor:
    return Predictor(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def images(color_folder: Path) -> list[Path]:
    return sorted((color_folder / "test").rglob("*.png"))


def by_hand(model: torch.nn.Module, image: Path) -> np.ndarray:
    """Probabilities, step by step."""
    pixels = resize_image(load_image(image), model.preprocessing)[None]
    with torch.inference_mode():
        logits = model(torch.from_numpy(normalize(pixels, model.preprocessing))).double().numpy()[0]
    powers = np.exp((logits - logits.max()) / model.card.temperature)
    return powers / powers.sum()


def assert_alike(found: list[Prediction], expected: list[Prediction]) -> None:
    """The same up to the last digits: a batch of another size adds in another order."""
    for one, other in zip(found, expected, strict=True):
        assert (one.path, one.label, one.error) == (other.path, other.label, other.error)
        assert [label for label, _ in one.top] == [label for label, _ in other.top]
        np.testing.assert_allclose([p for _, p in one.top], [p for _, p in other.top], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 2.5, 0.3])
def test_answers_are_softmax_of_the_models_logits_at_its_temperature(
    tiny_run: Path, tmp_path: Path, images: list[Path], temperature: float
) -> None:
    model = load_model(tiny_run)
    path = save_model(model, tmp_path / "m.safetensors", model.classes, model.preprocessing, temperature=temperature)
    model, predictor = load_model(path), Predictor(path, device="cpu")
    for image in images[::5]:
        expected = by_hand(model, image)
        (answer,) = predictor.predict(image)
        order = np.argsort(-expected)
        assert [label for label, _ in answer.top] == [model.classes[k] for k in order]
        np.testing.assert_allclose([p for _, p in answer.top], expected[order], rtol=1e-4, atol=1e-7)
        assert (answer.label, answer.probability) == answer.top[0]
        assert sum(p for _, p in answer.top) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(40, "crop", 0.8, (0.5,), (0.25,)),
        Preprocessing(24, "pad", mean=(0.2,), std=(0.3,)),
        Preprocessing(32, "stretch"),
    ],
)
def test_every_policy_and_grey_networks_are_obeyed(tmp_path: Path, preprocessing: Preprocessing) -> None:
    torch.manual_seed(0)
    model = create_model("mobilenet_v1_x0_25", 3, in_channels=preprocessing.in_channels, input_size=32)
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0  # one pass sets the running statistics: else an untrained network fades to nothing
    model.train()(torch.randn(8, preprocessing.in_channels, 32, 32))
    path = save_model(model, tmp_path / "m.safetensors", ("a", "b", "c"), preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "i.png")
    (answer,) = Predictor(path, device="cpu").predict([tmp_path / "i.png"])
    expected = by_hand(load_model(path), tmp_path / "i.png")
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose([dict(answer.top)[name] for name in "abc"], expected, rtol=1e-4, atol=1e-7)


def test_path_bytes_picture_and_array_give_the_same_answer(predictor: Predictor, images: list[Path]) -> None:
    image = images[0]
    with Image.open(image) as picture:
        answers = [
            predictor.predict(form)[0] for form in (image, str(image), image.read_bytes(), picture, np.array(picture))
        ]
    assert [answer.path for answer in answers] == [str(image), str(image), "image 0", "image 0", "image 0"]
    assert len({replace(answer, path="") for answer in answers}) == 1


def test_many_images_at_once_give_the_answers_of_each_alone_in_order(predictor: Predictor, images: list[Path]) -> None:
    many = [images[k % len(images)] for k in range(70)]  # more than two batches
    alone = {image: predictor.predict(image)[0] for image in images}
    assert_alike(predictor.predict(many), [alone[image] for image in many])
    assert_alike(list(predictor.stream(iter(many), batch_size=7)), [alone[image] for image in many])


def test_forms_can_be_mixed_and_are_numbered(predictor: Predictor, images: list[Path]) -> None:
    answers = predictor.predict((images[0], images[5].read_bytes(), np.array(Image.open(images[11]))))
    assert [answer.path for answer in answers] == [str(images[0]), "image 1", "image 2"]
    assert [answer.label for answer in answers] == ["blue", "green", "red"]


def test_no_images_have_no_answers(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_endless_images_are_answered_as_they_come(predictor: Predictor, images: list[Path]) -> None:
    answers = list(itertools.islice(predictor.stream(itertools.repeat(images[0])), 40))
    assert {answer.label for answer in answers} == {"blue"}


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (3, 3), (100, 3)])
def test_top_lists_so_many_classes_best_first(predictor: Predictor, images: list[Path], top: int, count: int) -> None:
    (answer,) = predictor.predict(images[0], top=top)
    assert len(answer.top) == count
    assert [p for _, p in answer.top] == sorted((p for _, p in answer.top), reverse=True)


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_an_error(predictor: Predictor, images: list[Path], top: int) -> None:
    with pytest.raises(UsageError, match=f"top is {top}; at least 1 is needed"):
        predictor.predict(images[0], top=top)


def test_unreadable_images_are_answered_with_an_error_among_the_others(
    predictor: Predictor, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    cut = images[0].read_bytes()[:200]
    asked = [tmp_path / "empty.png", images[0], cut, tmp_path / "none.png", np.zeros((2, 2)), images[11], tmp_path]
    answers = predictor.predict(asked)
    assert [answer.label for answer in answers] == [None, "blue", None, None, None, "red", None]
    assert [answer.error for answer in answers] == [
        "empty file",
        None,
        "truncated",
        "no such file",
        "an array of float64 with shape (2, 2), not uint8 (H, W), (H, W, 1|3|4)",
        None,
        "a folder, not an image",
    ]
    assert [answer.path for answer in answers] == [
        str(tmp_path / "empty.png"), str(images[0]), "image 2", str(tmp_path / "none.png"), "image 4", str(images[11]),
        str(tmp_path),
    ]  # fmt: skip


def test_nothing_but_unreadable_images_is_no_problem(predictor: Predictor) -> None:
    assert [answer.error for answer in predictor.predict([b"", b"x"])] == [
        "empty file",
        "not an image (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM)",
    ]


def test_rows_have_the_fields_of_the_contract(predictor: Predictor, images: list[Path]) -> None:
    good, bad = predictor.predict([images[0], b""], top=2)
    row = json.loads(json.dumps(good.to_row()))
    assert list(row) == ["path", "label", "probability", "top", "rejected"]
    assert row["top"] == [[row["label"], row["probability"]], list(good.top[1])]
    assert row["rejected"] is False
    assert bad.to_row() == {"path": "image 1", "error": "empty file"}


def test_weights_that_overflow_are_an_error_not_an_answer(tiny_run: Path, tmp_path: Path, images: list[Path]) -> None:
    model = load_model(tiny_run)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3e38)
    path = save_model(model, tmp_path / "m.safetensors", model.classes, model.preprocessing)
    with pytest.raises(FeatherlightError, match="the model gives NaN or infinite outputs"):
        Predictor(path, device="cpu").predict(images[0])


def test_missing_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelFileError, match=r"^runs/a: no such model file or run directory; runs are listed by: featherlight runs$"
    ):
        Predictor("runs/a")


def test_predictor_and_prediction_are_public_names(tiny_run: Path, paint: Callable[[Path, str, int], Path]) -> None:
    import featherlight

    assert featherlight.Predictor is Predictor
    assert featherlight.Prediction is Prediction


def test_a_networks_name_in_the_place_of_a_model_says_how_to_train_it() -> None:
    with pytest.raises(ModelFileError, match=r"train one: featherlight train DATA --model shufflenet_v1_g3_x1_0"):
        Predictor("shufflenet_v1_g3_x1_0.jaxony")
