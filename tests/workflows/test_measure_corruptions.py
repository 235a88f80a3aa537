from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.engines import open_engine
from featherlight.errors import MissingExtraError
from featherlight.images.corruptions import KINDS, corrupt, corruption_levels
from featherlight.predictor import Predictor
from featherlight.report import plot_corruptions
from featherlight.workflows import corruptions as corruptions_module
from featherlight.workflows.corruptions import measure_corruptions
from featherlight.workflows.evaluate import evaluate
from featherlight.workflows.export import export

CLASSES = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def found(tiny_run: Path) -> dict:
    return evaluate(tiny_run, device="cpu", corruptions=True).corruptions


def test_accuracy_is_that_of_the_same_images_corrupted_by_hand(tiny_run: Path, color_folder: Path, found: dict) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    paths = sorted((color_folder / "test").rglob("*.png"))
    # The network looks at 16 px of a crop of 7/8: images are brought to 18 px first.
    images = [np.array(Image.open(path).resize((18, 18), Image.Resampling.BILINEAR)) for path in paths]
    assert (found["num_images"], found["top1"]) == (12, 1.0)
    for kind in ("noise", "contrast", "shift"):
        assert found["levels"][kind] == corruption_levels(kind, 16)
        for level, accuracy in zip(found["levels"][kind], found["accuracy"][kind], strict=True):
            worse = [corrupt(image, kind, level, seed) for seed, image in enumerate(images)]
            named = [answer.label for answer in predictor.predict(worse)]
            assert accuracy == np.mean([name == path.parent.name for name, path in zip(named, paths, strict=True)])


def test_every_kind_has_five_strengths_and_a_mean(found: dict) -> None:
    assert tuple(found["accuracy"]) == tuple(found["levels"]) == tuple(found["mean_of"]) == KINDS
    shares = np.array(list(found["accuracy"].values()))
    assert shares.shape == (6, 5)
    assert found["mean"] == pytest.approx(shares.mean())
    assert list(found["mean_of"].values()) == pytest.approx(shares.mean(axis=1))


def test_exported_file_is_measured_on_the_same_pixels(
    tiny_run: Path, color_folder: Path, tmp_path: Path, found: dict
) -> None:
    made = export(tiny_run, out=tmp_path / "m.onnx", form="shuffle", data=color_folder)
    assert evaluate(made.path, color_folder, corruptions=True).corruptions == found


def test_of_many_images_some_are_drawn(tiny_run: Path, color_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruptions_module, "MAX_IMAGES", 5)
    assert evaluate(tiny_run, color_folder, split="all", device="cpu", corruptions=True).corruptions["num_images"] == 5


def test_image_that_has_gone_meanwhile_is_left_out(tiny_run: Path, tmp_path: Path) -> None:
    from featherlight.sources import open_unlabelled

    for number in range(3):
        Image.new("RGB", (20, 20), (40, 60, 200)).save(tmp_path / f"{number}.png")
    images = open_unlabelled(tmp_path)
    (tmp_path / "1.png").unlink()
    assert measure_corruptions(open_engine(tiny_run, device="cpu"), images, images.labels)["num_images"] == 2


def test_picture_has_a_line_a_kind(found: dict, tmp_path: Path) -> None:
    plot_corruptions(tmp_path / "corruptions.png", found)
    with Image.open(tmp_path / "corruptions.png") as picture:
        assert picture.size[0] >= 600
        pixels = np.array(picture.convert("RGB")).reshape(-1, 3)
    for colour in ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#0369a1"):
        wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
        assert (np.abs(pixels.astype(int) - wanted).max(axis=1) < 12).any()


def test_without_matplotlib_the_picture_says_what_to_install(
    found: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"featherlight\[train\]"):
        plot_corruptions(tmp_path / "corruptions.png", found)
