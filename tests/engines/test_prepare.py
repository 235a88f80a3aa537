from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from featherlight.engines import prepare_image, working_pixels
from featherlight.errors import UnreadableImageError
from featherlight.images import Preprocessing
from featherlight.model_file import ModelCard


@dataclass
class Resizing:
    """What an engine says of itself."""

    preprocessing: Preprocessing
    resizes: bool = True
    name: str = "test"

    @property
    def card(self) -> ModelCard:
        return ModelCard("m", {"num_classes": 1}, ("a",), self.preprocessing)


def image(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("policy", ["stretch", "pad"])
def test_image_too_long_to_be_resized_inside_an_engine_is_refused(policy: str) -> None:
    engine = Resizing(Preprocessing(224, policy))
    with pytest.raises(UnreadableImageError, match="too large: 1 x 200000 pixels are too long for this model"):
        prepare_image(engine, image(200_000, 1))
    assert prepare_image(engine, image(1, 200_000)).shape == (1, 200_000, 3)
    assert prepare_image(engine, image(5000, 400)).shape == (5000, 400, 3)
    assert prepare_image(Resizing(Preprocessing(8, policy), resizes=False), image(200_000, 1)).shape == (8, 8, 3)


def test_engine_that_crops_gets_what_it_looks_at_and_nothing_else_is_kept() -> None:
    engine = Resizing(Preprocessing(224))
    prepared = prepare_image(engine, image(200_000, 1))
    assert prepared.size < 100
    assert prepared.base is None
    whole = image(300, 300)
    assert prepare_image(engine, whole) is whole


def test_engine_that_resizes_works_on_rows_of_its_own_width() -> None:
    assert working_pixels(Resizing(Preprocessing(224)), 1000, 1) == 224_000
    assert working_pixels(Resizing(Preprocessing(224)), 10, 500) == 5000
    assert working_pixels(Resizing(Preprocessing(224), resizes=False), 1000, 1) == 1000
