"""How accuracy holds when images get worse: six kinds of corruption in five strengths."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featherlight.engines import Engine, compute_logits, prepare_image
from featherlight.engines.base import SMALL_BATCH
from featherlight.images.corruptions import KINDS, STRENGTHS, Kind, corrupt, corruption_levels
from featherlight.sources.base import RGBImage, Split, take
from featherlight.workflows.measuring import read_prepared

MAX_IMAGES = 2000  # each is seen 31 times; a share of 2,000 images is known to within two points
_SEED = 0

Variant = tuple[Kind, float]


def measure_corruptions(engine: Engine, images: Split, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy on corrupted images, the field ``corruptions`` of an evaluation. One batch is in memory at a time.

    Images are corrupted at the size at which the network looks at them, or their own if that is smaller, so that an
    exported file that resizes images itself is measured on the same pixels.

    Args:
        engine: with the model.
        images: that can be read (N); of more than 2,000, so many are drawn.
        labels: true classes in the model's order (N,).
    """
    chosen = np.sort(np.random.default_rng(_SEED).permutation(len(images))[:MAX_IMAGES])
    images, labels = take(images, chosen), labels[chosen]
    levels = {kind: corruption_levels(kind, engine.card.preprocessing.input_size) for kind in KINDS}
    variants: list[Variant | None] = [None, *((kind, level) for kind in KINDS for level in levels[kind])]
    right, total = np.zeros(len(variants), np.int64), 0
    for positions, batch in _batches(engine, images):
        total += len(batch)
        with ThreadPoolExecutor() as pool:
            for place, variant in enumerate(variants):
                prepared = list(pool.map(partial(_prepare, engine, variant), batch, positions.tolist()))
                right[place] += np.sum(compute_logits(engine, prepared).argmax(axis=1) == labels[positions])
    shares = (right / max(1, total)).tolist()
    accuracy = {kind: shares[1 + k * STRENGTHS :][:STRENGTHS] for k, kind in enumerate(KINDS)}
    return {
        "num_images": total,
        "top1": shares[0],
        "levels": levels,
        "accuracy": accuracy,
        "mean": float(np.mean(shares[1:])),
        "mean_of": {kind: float(np.mean(values)) for kind, values in accuracy.items()},
    }


def _batches(engine: Engine, images: Split) -> Iterator[tuple[NDArray[np.int64], list[RGBImage]]]:
    preprocessing = engine.card.preprocessing
    side = preprocessing.input_size
    if preprocessing.resize == "crop":
        side = round(side / preprocessing.crop_fraction)
    for batch in read_prepared(images, partial(_shrink, side), SMALL_BATCH, "corrupting"):
        if batch.images:
            yield batch.positions, batch.images


def _shrink(side: int, image: RGBImage) -> RGBImage:
    """Brings the shorter side down to what the network will see."""
    height, width = image.shape[:2]
    factor = side / min(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _prepare(engine: Engine, variant: Variant | None, image: RGBImage, position: int) -> RGBImage:
    return prepare_image(engine, image if variant is None else corrupt(image, *variant, seed=position))
