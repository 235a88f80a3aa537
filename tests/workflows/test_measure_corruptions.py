from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherlight.engines import prepare_image
from featherlight.errors import MissingExtraError
from featherlight.images import Preprocessing, resize_image
from featherlight.images.corruptions import KINDS, corrupt
from featherlight.model_file import ModelCard
from featherlight.report import plot_corruptions
from featherlight.sources import open_unlabelled
from featherlight.sources.base import Split
from featherlight.workflows import corruptions as corruptions_module
from featherlight.workflows.corruptions import measure_corruptions
from featherlight.workflows.evaluate import evaluate


class Brightness:
    """An engine that tells bright images from dark ones: every corrupted pixel counts."""

    name = "brightness"

    def __init__(self, *, resizes: bool) -> None:
        self.card = ModelCard("none", {}, ("dark", "bright"), Preprocessing(32, crop_fraction=0.8))
        self.resizes = resizes

    def logits(self, images: np.ndarray) -> np.ndarray:
        if self.resizes:
            images = np.stack([resize_image(image, self.card.preprocessing) for image in images])
        assert images.shape[1:] == (32, 32, 3)
        above = images.mean(axis=(1, 2, 3), dtype=np.float64) - 127.5
        return np.stack([-above, above], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Sixty pictures of about medium brightness, larger than the engine looks at, in several shapes."""
    folder = tmp_path_factory.mktemp("patterns")
    rng = np.random.default_rng(0)
    for number in range(60):
        squares = rng.integers(60, 196, (4, 4 + number % 2, 3), np.uint8)
        size = (60 + 15 * (number % 2), 60)
        Image.fromarray(squares).resize(size, Image.Resampling.NEAREST).save(folder / f"{number:02}.png")
    return open_unlabelled(folder)


@pytest.fixture(scope="module")
def found(tiny_run: Path) -> dict:
    return evaluate(tiny_run, device="cpu", corruptions=True).corruptions


@pytest.mark.parametrize("resizes", [False, True])
def test_accuracy_is_that_of_the_same_images_corrupted_by_hand(patterns: Split, resizes: bool) -> None:
    engine = Brightness(resizes=resizes)
    labels = np.arange(60) % 2
    found = measure_corruptions(engine, patterns, labels)
    small = [Image.open(path) for path in patterns.paths]  # the network looks at 32 px of a crop of 4/5
    images = [np.array(image.resize((40 * image.width // 60, 40), Image.Resampling.BILINEAR)) for image in small]
    assert found["num_images"] == 60
    by_hand = {
        kind: [
            right(engine, [corrupt(image, kind, level, k) for k, image in enumerate(images)], labels)
            for level in levels
        ]
        for kind, levels in found["levels"].items()
    }
    assert found["accuracy"] == by_hand
    assert found["top1"] == right(engine, images, labels)
    assert len({share for shares in by_hand.values() for share in shares}) > 5  # they do differ


def right(engine: Brightness, images: list[np.ndarray], labels: np.ndarray) -> float:
    logits = np.concatenate([engine.logits(prepare_image(engine, image)[None]) for image in images])
    return float(np.mean(logits.argmax(axis=1) == labels))


def test_every_kind_has_five_strengths_and_a_mean(found: dict) -> None:
    assert tuple(found["accuracy"]) == tuple(found["levels"]) == tuple(found["mean_of"]) == KINDS
    shares = np.array(list(found["accuracy"].values()))
    assert shares.shape == (6, 5)
    assert found["mean"] == pytest.approx(shares.mean())
    assert list(found["mean_of"].values()) == pytest.approx(shares.mean(axis=1))


def test_of_many_images_some_are_drawn(tiny_run: Path, color_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruptions_module, "MAX_IMAGES", 5)
    assert evaluate(tiny_run, color_folder, split="all", device="cpu", corruptions=True).corruptions["num_images"] == 5


def test_image_that_has_gone_meanwhile_is_left_out(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (20, 20), (40, 60, 200)).save(tmp_path / f"{number}.png")
    images = open_unlabelled(tmp_path)
    (tmp_path / "1.png").unlink()
    assert measure_corruptions(Brightness(resizes=False), images, images.labels)["num_images"] == 2


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
