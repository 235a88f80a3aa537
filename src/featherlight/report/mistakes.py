"""Wrong images as the page shows them: small pictures, what was said, and where the network looked."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.metrics import Evaluation
from featherlight.report.matrix import confused_pairs
from featherlight.report.rendering import thumbnail
from featherlight.sources.base import RGBImage

MAX_MISTAKES = 250
UNSURE_BELOW = 0.8  # right images of a higher probability are left out: of few images the least certain may be sure
PICTURE_BYTES = 3_000_000  # of all pictures together: the page stays under 5 MB
_HEAT_COLOUR = (255, 80, 0)
_HEAT_OPACITY = 190  # of 255, where the network looked most

Heat = NDArray[np.float32]  # (h, w), from 0 to 1


@dataclass(frozen=True)
class Mistake:
    """One image the model named wrongly, or was hardly certain of.

    Attributes:
        path: what names the image.
        image: RGB uint8 (H, W, 3).
        true: name of its class.
        predicted: name the model gave.
        probability: the model's confidence in ``predicted``.
        kind: ``worst``: among the most confident; ``pair``: of classes that are often
            confused; ``unsure``: among the least confident.
        top: the likeliest classes and their probabilities, the likeliest first.
        heats: ``predicted`` and ``true`` -> where in ``image`` the network found it, (h, w) from 0 to 1.
    """

    path: str
    image: RGBImage
    true: str
    predicted: str
    probability: float
    kind: str = "worst"
    top: Sequence[tuple[str, float]] = ()
    heats: Mapping[str, Heat] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A mistake on the page.

    Attributes:
        mistake: what it is.
        picture: a data URL; "" when no more pictures fit.
        heats: likewise, of what lies over the picture.
        pair: place of its classes among the most confused pairs, from 0; -1 if they are none.
        share_of_true: the model's confidence in the true class, if that is among the likeliest.
    """

    mistake: Mistake
    picture: str
    heats: Mapping[str, str]
    pair: int
    share_of_true: float | None

    @property
    def is_wrong(self) -> bool:
        """Whether it was named wrongly; the least certain images may be right."""
        return self.mistake.true != self.mistake.predicted


def show_mistakes(mistakes: Sequence[Mistake], evaluation: Evaluation) -> list[Shown]:
    """The most confident mistakes first, with pictures as long as they fit."""
    names = evaluation.classes
    pairs = {(names[true], names[said]): place for place, (true, said, *_) in enumerate(confused_pairs(evaluation))}
    left, shown = PICTURE_BYTES, list[Shown]()
    worth = [one for one in mistakes if one.true != one.predicted or one.probability < UNSURE_BELOW]
    for mistake in sorted(worth, key=lambda one: -one.probability)[:MAX_MISTAKES]:
        picture = thumbnail(mistake.image)
        heats = {name: heat_picture(heat) for name, heat in mistake.heats.items()}
        left -= len(picture) + sum(map(len, heats.values()))
        if left < 0:
            picture, heats = "", {}
        share = dict(mistake.top).get(mistake.true)
        shown.append(Shown(mistake, picture, heats, pairs.get((mistake.true, mistake.predicted), -1), share))
    return shown


def heat_picture(heat: Heat) -> str:
    """A PNG as small as the map, as a data URL; the browser makes it smooth. The cooler, the more transparent."""
    pixels = np.empty((*heat.shape, 4), np.uint8)
    pixels[..., :3] = _HEAT_COLOUR
    pixels[..., 3] = np.clip(heat, 0, 1) * _HEAT_OPACITY
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
