"""Evaluation, prediction and validation see each image through the one definition in ``images``, pixel for pixel.

The images here are large JPEGs of noise: decoding them at a fraction of their size, as training may, or resizing them
with another filter, changes nearly every pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import featherlight.training.validation as validation
from featherlight import Predictor
from featherlight.engines import Engine, open_engine
from featherlight.images import Preprocessing, load_image, resize_image
from featherlight.loading.decoding import Decoder
from featherlight.models.engine import normalized
from featherlight.sources import open_source
from featherlight.sources.base import Source
from featherlight.training.validation import ValidationSet
from featherlight.workflows.evaluate import evaluate_split


class Watched:
    """A real engine that keeps what it is given."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.card, self.resizes, self._engine = engine.name, engine.card, engine.resizes, engine
        self.seen: list[np.ndarray] = []

    def logits(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(images.copy())
        return self._engine.logits(images)


class WatchedNetwork(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.clone())
        return images.mean((2, 3))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("blue", "green", "red"):
            (tmp_path / split / name).mkdir(parents=True)
            for k in range(2):
                noise = rng.integers(0, 256, (230, 300, 3), np.uint8)
                Image.fromarray(noise).save(tmp_path / split / name / f"{k}.jpg", quality=95)
    return open_source(tmp_path)


def expected(source: Source, preprocessing: Preprocessing) -> np.ndarray:
    exact = [resize_image(load_image(path), preprocessing) for path in source.splits["val"].paths]
    for position, image in enumerate(exact):  # the premise: whoever took the fast way would be noticed
        assert not np.array_equal(Decoder(source.splits["val"], preprocessing, scaled=True).one(position), image)
    return np.stack(exact)


def test_evaluation_sees_the_definition(source, tiny_run):
    engine = Watched(open_engine(tiny_run))
    evaluate_split(engine, source, "val", "tiny")
    assert np.array_equal(np.concatenate(engine.seen), expected(source, engine.card.preprocessing))


def test_prediction_sees_the_definition(source, tiny_run):
    predictor = Predictor(tiny_run)
    predictor.engine = engine = Watched(predictor.engine)
    predictor.predict(list(source.splits["val"].paths))
    assert np.array_equal(np.concatenate(engine.seen), expected(source, engine.card.preprocessing))


@pytest.mark.parametrize("how", ["in memory", "on disk", "streamed"])
def test_validation_sees_the_definition(source, how, monkeypatch):
    preprocessing = Preprocessing(24, crop_fraction=0.875)
    if how != "in memory":
        monkeypatch.setattr(validation, "fits_in_memory", lambda *_: False)
    if how == "streamed":
        monkeypatch.setenv("FEATHERLIGHT_CACHE_GB", "0")
    definition = normalized(torch.from_numpy(expected(source, preprocessing)), preprocessing)
    for _ in range(2):  # the second start reads the cache
        network = WatchedNetwork()
        ValidationSet(source.splits["val"], preprocessing, torch.device("cpu"))(network)
        assert torch.equal(torch.cat(network.seen), definition)
