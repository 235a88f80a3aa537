"""Test-time augmentation: an image's answers are averaged over itself, mirrored and moved a little."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from featherlight.engines import Engine, batch_size_for, compute_logits, prepare_image
from featherlight.images.corruptions import shift
from featherlight.metrics import Evaluation, evaluate_logits, softmax
from featherlight.sources.base import RGBImage
from featherlight.workflows.measuring import Measured, read_prepared

MOVED = 16  # an image moves by a sixteenth of its shorter side, as far as half of the training crops do
_DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_COMPARED = ("top1", "top1_interval", "nll", "brier", "ece")

Variants = dict[str, Callable[[RGBImage], RGBImage]]


def measure_test_time(engine: Engine, measured: Measured) -> dict[str, Any]:
    """What averaging probabilities over variants changes, the field ``tta`` of an evaluation.

    Mirrored variants are used where the recipe mirrored training images.

    Args:
        engine: with the model.
        measured: the same engine on the images as they are.
    """
    variants = _variants(is_mirrored=_mirrored(engine.card.provenance))
    averaged = measured.logits / np.float32(engine.card.temperature)  # what has gone meanwhile keeps its answer
    started, rest_s = time.perf_counter(), 0.0
    for batch in read_prepared(
        measured.images, partial(prepare_image, engine), batch_size_for(engine), "averaging variants"
    ):
        probabilities = softmax(compute_logits(engine, batch.images), engine.card.temperature)
        first_done = time.perf_counter()
        for vary in list(variants.values())[1:]:
            varied = [vary(image) for image in batch.images]
            probabilities += softmax(compute_logits(engine, varied), engine.card.temperature)
        averaged[batch.positions] = np.log(np.maximum(probabilities / len(variants), np.finfo(np.float32).tiny))
        rest_s += time.perf_counter() - first_done
    seconds = time.perf_counter() - started
    return _compare(measured, averaged) | {
        "variants": list(variants), "seconds": round(seconds, 2), "seconds_without": round(seconds - rest_s, 2),
    }  # fmt: skip


def _compare(measured: Measured, averaged: Any) -> dict[str, Any]:
    plain = measured.evaluation
    found: Evaluation = evaluate_logits(
        averaged, measured.labels, plain.classes, model="", data="", split="", engine=""
    )  # the softmax of log-probabilities is the probabilities
    right, now = (logits.argmax(axis=1) == measured.labels for logits in (measured.logits, averaged))
    values = {name: getattr(found, name) for name in _COMPARED}
    before = {f"{name}_without": getattr(plain, name) for name in _COMPARED}
    return values | before | {"mended": int(np.sum(now & ~right)), "spoilt": int(np.sum(right & ~now))}


def _variants(*, is_mirrored: bool) -> Variants:
    moved: Variants = {"as it is": lambda image: image}
    for name, (down, right) in _DIRECTIONS.items():
        moved[name] = partial(_move, down=down, right=right)
    if not is_mirrored:
        return moved
    return moved | {f"mirrored, {name}": partial(_mirror, vary) for name, vary in moved.items()}


def _move(image: RGBImage, down: int, right: int) -> RGBImage:
    reach = max(1, round(min(image.shape[:2]) / MOVED))
    return shift(image, down * reach, right * reach)


def _mirror(vary: Callable[[RGBImage], RGBImage], image: RGBImage) -> RGBImage:
    return vary(image[:, ::-1])


def _mirrored(provenance: Mapping[str, Any]) -> bool:
    recipe = provenance.get("recipe")
    return isinstance(recipe, Mapping) and recipe.get("flip") is True
